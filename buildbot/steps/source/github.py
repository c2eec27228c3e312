"""A step that checks out branches and pull requests of GitHub."""

from __future__ import annotations

import re

from buildbot.steps.source.base import Patch
from buildbot.steps.source.git import Git

_MERGE = re.compile(r"refs/pull/\d+/merge")


class GitHub(Git):
    """Check out a Git repository; of a branch ``refs/pull/N/merge`` GitHub's newest merge of the pull request.

    The revision of such a change is ignored: it is the head of the pull request (``refs/pull/N/head``), not the merge.
    """

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out the revision, or the newest merge of a pull request."""
        return await super().run_vc(branch, None if _MERGE.fullmatch(branch or "") else revision, patch)
