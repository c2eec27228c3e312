"""A step that checks out branches and merge requests of GitLab."""

from __future__ import annotations

from typing import Any

from buildbot.steps.source.base import Patch
from buildbot.steps.source.git import Git

_PROPERTIES = ("source_branch", "source_git_ssh_url", "target_branch", "target_git_ssh_url")
#: properties with the source's address for HTTP: of other senders, of the GitLab hook
_OVER_HTTP = ("source_git_http_url", "source_repository")


class GitLab(Git):
    """Check out a Git repository, or the source branch of a merge request, which may be in another repository.

    If the build has the properties of a merge request that the GitLab hook sets, ``source_branch`` is fetched from the
    repository that it is in: over ssh if ``repourl`` is the target's address for ssh, else over HTTP. A codebase whose
    source stamp has another repository than the merge request's target is checked out as by `Git`.
    """

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out from the repository that has the branch."""
        over_http = next((name for name in _OVER_HTTP if self.hasProperty(name)), None)
        if over_http and all(self.hasProperty(name) for name in _PROPERTIES) and self.__has_merge_request():
            over_ssh = self.repourl == self.getProperty("target_git_ssh_url")
            source = self.getProperty("source_git_ssh_url" if over_ssh else over_http)
            if source:  # otherwise the source was removed; the target may still have its commits
                self.repourl, branch = source, self.getProperty("source_branch")
        return await super().run_vc(branch, revision, patch)

    def __has_merge_request(self) -> bool:
        """Whether the merge request is for this codebase."""
        stamp: Any = self.build.getSourceStamp(self.codebase)
        repository = stamp["repository"]
        target = self.getProperty("target_repository")
        return not (repository and target) or repository in (target, self.getProperty("target_git_ssh_url"))
