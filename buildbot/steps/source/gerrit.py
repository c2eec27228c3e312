"""Check out changes that are reviewed with Gerrit."""

from __future__ import annotations

import re
from typing import Any

from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import Patch
from buildbot.steps.source.git import Git

_CHANGE = re.compile(r"(\d+)/(\d+)\Z")


class Gerrit(Git):
    """Git that knows Gerrit's changes.

    The property ``event.patchSet.ref``, which Gerrit's change source sets, is what is checked out, if
    ``event.change.project`` is the project of the source stamp. The property ``gerrit_change`` (``1234/5``: change and
    patch set) does the same for a forced build.
    """

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out, the patch set if there is one."""
        project = self.getProperty("event.change.project")
        stamp: Any = self.build.getSourceStamp(self.codebase)
        if project is not None and project != stamp["project"]:
            return await super().run_vc(branch, revision, patch)  # the change of another codebase
        if self.hasProperty("event.patchSet.ref"):
            branch, revision = self.getProperty("event.patchSet.ref"), None
        elif self.getProperty("gerrit_change"):
            change = _CHANGE.match(str(self.getProperty("gerrit_change")))
            if change is None:
                given = self.getProperty("gerrit_change")
                raise BuildStepFailed(f"gerrit_change must be a change and a patch set, as in 1234/5, not {given!r}")
            branch, revision = f"refs/changes/{int(change[1]) % 100:02}/{change[1]}/{change[2]}", None
        return await super().run_vc(branch, revision, patch)
