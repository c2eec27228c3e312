"""The parts of git repositories' addresses."""

from __future__ import annotations

import re
from typing import NamedTuple

_URL = re.compile(
    r"(?P<proto>ssh|git|https?)://"
    r"(?:(?P<user>[^/:@]+)(?::(?P<password>[^/@]*))?@)?"
    r"(?P<domain>\[[0-9A-Fa-f:.]+\]|[^/:@\[\]]+)(?::(?P<port>\d+))?"
    r"/(?P<path>.+)\Z"
)
#: the form of scp; a text with a slash before the colon is a path, and so is one that begins with a drive
_SCP = re.compile(
    r"(?![A-Za-z]:[\\/])(?:(?P<user>[^/:@]+)@)?(?P<domain>\[[0-9A-Fa-f:.]+\]|[^/:@\[\]]+):(?!//)(?P<path>.+)\Z"
)


class GitUrl(NamedTuple):
    """The parts of an address; None for those that it does not have.

    Attributes:
        proto: ``ssh``, ``git``, ``http`` or ``https``.
        owner: the path without its last part: ``buildbot``, ``group/subgroup``.
        repo: the last part of the path, without ``.git``.
    """

    proto: str
    user: str | None
    password: str | None
    domain: str
    port: int | None
    owner: str | None
    repo: str


def giturlparse(url: str) -> GitUrl | None:
    """The parts of the address of a git repository on a server; None for other texts, such as local paths."""
    found = _URL.match(url) or _SCP.match(url)
    if found is None:
        return None
    parts = found.groupdict()
    owner, _, repo = parts["path"].strip("/").rpartition("/")
    repo = repo.removesuffix(".git")
    if not repo:
        return None
    port = parts.get("port")
    return GitUrl(
        parts.get("proto") or "ssh",
        parts["user"],
        parts.get("password"),
        parts["domain"],
        int(port) if port else None,
        owner or None,
        repo,
    )
