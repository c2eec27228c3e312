"""Check out branches and pull requests of GitHub."""

from __future__ import annotations

import re

from buildbot.steps.source.base import Patch
from buildbot.steps.source.git import Git

_MERGE = re.compile(r"refs/pull/\d+/merge")


class GitHub(Git):
    """Git that knows pull requests: a branch ``refs/pull/N/merge`` is the merge as GitHub has made it by now.

    The revision that a change names is the head of the pull request, which is not what is to be built then.
    ``refs/pull/N/head`` is that head.
    """

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out, the newest of a merge."""
        return await super().run_vc(branch, None if _MERGE.fullmatch(branch or "") else revision, patch)
