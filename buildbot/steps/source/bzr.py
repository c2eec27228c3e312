"""A step that checks out a Bazaar (Breezy) branch on the worker."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import Patch, Source, address, hidden_password, method_of, require_names
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
        doc="instead: the address that the source stamp's branch is appended to, with a slash",
    )
    defaultBranch = argument(
        None, checks.optional(checks.text), rendered=True, doc="used with `baseURL` if the source stamp has no branch"
    )
    method = method_of("clobber", "fresh", "clean", "copy", default="fresh")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (self.repourl is None) == (self.baseURL is None):
            error(f"{type(self).__name__}: give either repourl or baseURL")
        elif self.baseURL is not None and self.defaultBranch is None:
            error(f"{type(self).__name__}: baseURL needs a defaultBranch")

    def is_grave(self, line: str) -> bool:
        """Whether a line is bzr's reason of a failure."""
        return line.startswith(("bzr: ERROR:", "brz: ERROR:"))

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out."""
        how = self.cleaning()
        branch = branch or self.defaultBranch
        require_names(branch, revision)
        url = self.repourl if self.repourl is not None else f"{self.baseURL.rstrip('/')}/{branch}"
        workdir = self.directory()
        self.checkout_directory = "source" if how == "copy" else workdir
        at = ["-r", revision] if revision else []
        mark = self.mark_of(f"{self.checkout_directory}/.bzr", url)
        if how == "clobber" or not await self.pathExists(mark):
            await self.retried(lambda: self.__checkout(url, at))
            await self.write_file(mark, "")
        else:
            await self.vc("break-lock", "--force", ".", check=False)  # a killed bzr leaves it
            await self.vc("revert", "--no-backup")
            await self.__clean(how)
            await self.retried(lambda: self.vc("update", *at))
        number = await self.vc("version-info", "--custom", "--template={revno}\n")
        if not number.stdout.strip():
            raise BuildStepFailed("bzr does not say which revision was checked out")
        self.set_revision(number.stdout.strip())
        await self.apply_patch(patch)
        if how == "copy":
            await self.copy_checkout()
        return SUCCESS

    async def __checkout(self, url: str, at: list[str]) -> None:
        await self.runRmdir(self.checkout_directory, self.timeout)
        await self.vc("checkout", hidden_password(url), self.checkout_directory, *at, directory="")

    async def __clean(self, how: str) -> None:
        """Remove files that are not tracked, by the method, and files that a patch has added."""
        if how == "fresh":
            await self.vc("clean-tree", "--unknown", "--ignored", "--detritus", "--force")
        elif how != "incremental" or await self.was_patched(self.checkout_directory):
            await self.vc("clean-tree", "--unknown", "--force")

    @deferred
    async def patch(self, patch: Patch) -> None:
        """Apply a patch to the files."""
        await self.patch_with_program(patch)
