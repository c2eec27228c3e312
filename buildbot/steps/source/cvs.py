"""A step that checks out a CVS module on the worker."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import (
    Patch,
    Source,
    address,
    hidden_password,
    is_secret_variable,
    method_of,
    require_names,
)
from buildbot.util.deferreds import deferred
from buildbot.util.results import SUCCESS
from buildbot.util.urls import without_password


class CVS(Source):
    """Check out a module in its state of now, or of the time that is the source stamp's revision.

    CVS has no revisions of whole modules: ``got_revision`` is the time of the checkout. CVS does not list ignored files
    either, so ``fresh`` removes the directory as ``clobber`` does.
    """

    name = "cvs"
    program = ("cvs",)
    sigterm_time_s: ClassVar[float | None] = 1
    positional: ClassVar[tuple[str, ...]] = (
        "cvsroot",
        "cvsmodule",
        "mode",
        "method",
        "branch",
        "global_options",
        "extra_options",
        "login",
    )
    cvsroot = argument(REQUIRED, address, rendered=True, doc="the repository, in the form of `CVSROOT`")
    cvsmodule = argument("", checks.text, rendered=True, doc="the module; empty: the whole repository")
    method = method_of("clobber", "fresh", "clean", "copy", default="fresh")
    branch = argument(None, checks.optional(checks.text), rendered=True, doc="used if the source stamp has none")
    global_options = argument((), checks.list_of(checks.text), rendered=True, doc="options before the cvs command")
    extra_options = argument((), checks.list_of(checks.text), rendered=True, doc="options of `cvs checkout`")
    login = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="the password of `cvs login`, which runs first; None: no login",
    )

    def is_grave(self, line: str) -> bool:
        """Whether a line is the one in which cvs gives up."""
        return "aborted]:" in line

    def short_revision(self, revision: str) -> str:
        """The whole time."""
        return revision

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out."""
        how = self.cleaning()
        branch = branch or self.branch
        require_names(branch, revision)
        workdir = self.directory()
        self.checkout_directory = "source" if how == "copy" else workdir
        if self.login:
            words = (*self.global_options, *self.__root(), "login")
            await self.vc(*words, stdin=f"{self.login}\n", directory="", secrets=self.__secrets())
        when = time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime(self.master.wall_seconds()))
        at = [*(["-r", branch] if branch else []), *(["-D", revision] if revision else [])]
        mark = self.mark_of(f"{self.checkout_directory}/CVS", self.cvsroot, self.cvsmodule)
        if how in ("clobber", "fresh") or not await self.pathExists(mark):
            await self.retried(lambda: self.__checkout(at))
            await self.write_file(mark, "")
        else:
            await self.__clean(how)
            # -A leaves the branch or time of an older build, -C undoes changes of files
            await self.retried(lambda: self.__cvs("update", "-CdP", *(at or ["-A"])))
        self.set_revision(revision or when)
        await self.apply_patch(patch)
        if how == "copy":
            await self.copy_checkout()
        return SUCCESS

    def __root(self) -> list[Any]:
        """The options that name the repository; none if it has a password, which `__secrets` gives to cvs."""
        return [] if self.__secrets() else ["-d", hidden_password(self.cvsroot)]

    def __secrets(self) -> dict[str, str]:
        """The repository as an environment variable, if it has a password: other users can read arguments."""
        is_secret = without_password(self.cvsroot) != self.cvsroot and is_secret_variable(self.cvsroot)
        return {"CVSROOT": self.cvsroot} if is_secret else {}

    async def __cvs(self, *words: Any, directory: str | None = None) -> None:
        command = await self.vc(*self.global_options, "-z3", *words, check=False, directory=directory)
        if command.didFail():
            raise BuildStepFailed(self.complaint("update", command))

    async def __checkout(self, at: list[str]) -> None:
        await self.runRmdir(self.checkout_directory, self.timeout)
        words = [
            *self.global_options,
            *self.__root(),
            "-z3",
            "checkout",
            "-P",
            "-d",
            self.checkout_directory,
            *self.extra_options,
            *at,
        ]
        command = await self.vc(*words, self.cvsmodule or ".", check=False, directory="", secrets=self.__secrets())
        if command.didFail():
            raise BuildStepFailed(self.complaint("checkout", command))

    async def __clean(self, how: str) -> None:
        """Remove files that are neither tracked nor ignored; in an incremental build only after a patch."""
        if how == "incremental" and not await self.was_patched(self.checkout_directory):
            return
        listed = await self.vc("-n", "-q", "update", check=False)
        unknown = [line[2:] for line in listed.stdout.splitlines() if line.startswith("? ")]
        if unknown:
            gone = [f"{self.checkout_directory}/{path}" for path in unknown]
            await self.runRemoteCommand("rmdir", {"dir": gone, "logEnviron": False, "timeout": self.timeout})

    @deferred
    async def patch(self, patch: Patch) -> None:
        """Apply a patch to the files."""
        await self.patch_with_program(patch)
