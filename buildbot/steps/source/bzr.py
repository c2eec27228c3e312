"""Check out a Bazaar (Breezy) branch on the worker."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import Patch, Source, address, hidden_password, method_of
from buildbot.util.deferreds import deferred
from buildbot.util.results import SUCCESS


class Bzr(Source):
    """Check out the revision of the build's source stamp, or the newest, and set ``got_revision`` to its number."""

    name = "bzr"
    program = ("bzr",)
    sigterm_time_s: ClassVar[float | None] = 1
    positional: ClassVar[tuple[str, ...]] = ("repourl", "baseURL", "mode", "method", "defaultBranch")
    repourl = argument(None, checks.optional(address), rendered=True, doc="the address of the one branch")
    baseURL: Any = argument(
        None,
        checks.optional(address),
        rendered=True,
        doc="or what the source stamp's branch is put behind, with a slash",
    )
    defaultBranch = argument(
        None, checks.optional(checks.text), rendered=True, doc="used with `baseURL` if the source stamp has no branch"
    )
    method = method_of("clobber", "fresh", "clean", "copy", default="fresh")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__directory = ""
        if (self.repourl is None) == (self.baseURL is None):
            error(f"{type(self).__name__}: give either repourl or baseURL")
        elif self.baseURL is not None and self.defaultBranch is None:
            error(f"{type(self).__name__}: baseURL needs a defaultBranch")

    def vc_directory(self) -> str:
        """Where it is checked out, before a copy is made."""
        return self.__directory or super().vc_directory()

    def is_grave(self, line: str) -> bool:
        """Bzr's reason of a failure."""
        return line.startswith(("bzr: ERROR:", "brz: ERROR:"))

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out."""
        how = (self.method or "fresh") if self.mode == "full" else "incremental"
        branch = branch or self.defaultBranch
        for word in filter(None, (branch, revision)):
            if word.startswith("-"):
                raise BuildStepFailed(f"not the name of a branch or revision: {word!r}")
        url = self.repourl if self.repourl is not None else f"{self.baseURL.rstrip('/')}/{branch}"
        workdir = self.directory()
        self.__directory = "source" if how == "copy" else workdir
        at = ["-r", revision] if revision else []
        mark = self.mark_of(f"{self.__directory}/.bzr", url)
        if how == "clobber" or not await self.pathExists(mark):
            await self.retried(lambda: self.__checkout(url, at))
            await self.write_file(mark, "")
        else:
            await self.vc("break-lock", "--force", ".", check=False)  # what a killed bzr left
            await self.vc("revert", "--no-backup")
            await self.__clean(how)
            await self.retried(lambda: self.vc("update", *at))
        number = await self.vc("version-info", "--custom", "--template={revno}\n")
        if not number.stdout.strip():
            raise BuildStepFailed("bzr does not say which revision was checked out")
        self.set_revision(number.stdout.strip())
        await self.apply_patch(patch)
        if how == "copy":
            await self.runRmdir(workdir, self.timeout)
            await self.runRemoteCommand(
                "cpdir", {"fromdir": "source", "todir": workdir, "logEnviron": False, "timeout": self.timeout}
            )
        return SUCCESS

    async def __checkout(self, url: str, at: list[str]) -> None:
        await self.runRmdir(self.__directory, self.timeout)
        await self.vc("checkout", hidden_password(url), self.__directory, *at, directory="")

    async def __clean(self, how: str) -> None:
        """Remove what is not tracked, as the method says, and what a patch has added."""
        if how == "fresh":
            await self.vc("clean-tree", "--unknown", "--ignored", "--detritus", "--force")
        elif how != "incremental" or await self.was_patched(self.__directory):
            await self.vc("clean-tree", "--unknown", "--force")

    @deferred
    async def patch(self, patch: Patch) -> None:
        """Apply a patch to the files."""
        await self.patch_with_program(patch)
