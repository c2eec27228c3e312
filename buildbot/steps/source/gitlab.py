"""Check out branches and merge requests of GitLab."""

from __future__ import annotations

from buildbot.steps.source.base import Patch
from buildbot.steps.source.git import Git

_PROPERTIES = ("source_branch", "source_git_ssh_url", "source_git_http_url", "target_branch", "target_git_ssh_url")


class GitLab(Git):
    """Git that knows merge requests, which may come from another repository.

    If the build has the properties of a merge request that the GitLab hook sets, ``source_branch`` is fetched from the
    repository that it comes from: over ssh if ``repourl`` is the target's address for ssh, else over HTTP.
    """

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out, from where the branch is."""
        if all(self.hasProperty(name) for name in _PROPERTIES):
            over_ssh = self.repourl == self.getProperty("target_git_ssh_url")
            self.repourl = self.getProperty("source_git_ssh_url" if over_ssh else "source_git_http_url")
            branch = self.getProperty("source_branch")
        return await super().run_vc(branch, revision, patch)
