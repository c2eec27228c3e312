"""The owner and name in a repository's URL, and the pull request of a branch, for services that host code."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SCP = re.compile(r"(?:[^@/]+@)?[^:/]+:(?P<path>[^/].*)\Z")
_PULL = re.compile(r"refs/pull/(\d+)/(?:merge|head)\Z")


def owner_and_name(repository: str) -> tuple[str, str] | None:
    """Owner (with slashes, where groups are nested) and name of a repository; None if its URL has no such parts.

    Args:
        repository: ``https://host/owner/name.git``, ``ssh://git@host/owner/name``, ``git@host:owner/name`` and so on.
    """
    scp = _SCP.match(repository)
    try:
        path = scp["path"] if scp is not None and "://" not in repository else urlsplit(repository).path
    except ValueError:
        return None
    owner, _, name = path.strip("/").removesuffix(".git").rpartition("/")
    return (owner, name) if owner and name else None


def pull_request(branch: str | None) -> int | None:
    """The number of the pull request of a GitHub branch ``refs/pull/N/merge`` or ``head``; None for other branches."""
    found = _PULL.match(branch or "")
    return int(found[1]) if found else None
