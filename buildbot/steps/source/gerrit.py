"""A step that checks out changes under review in Gerrit."""

from __future__ import annotations

import re
from typing import Any

from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import Patch
from buildbot.steps.source.git import Git

_CHANGE = re.compile(r"(\d+)/(\d+)\Z")


class Gerrit(Git):
    """Check out a Git repository, or a patch set of Gerrit if the build is about one.

    Gerrit's change source sets the property ``event.patchSet.ref``; the step checks out this ref if
    ``event.change.project`` is the project of the source stamp. For a forced build, the property ``gerrit_change``
    names change and patch set as ``1234/5``.
    """

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out the patch set, or the revision if there is none."""
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
