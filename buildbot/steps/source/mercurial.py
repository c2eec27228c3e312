"""A step that checks out a Mercurial repository on the worker.

A revision that is not a whole hash is looked up on the server: numbers of revisions differ between repositories, and
names in the worker's directory may be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import (
    NotThereError,
    Patch,
    Source,
    address,
    hidden_password,
    is_secret_variable,
    method_of,
    require_names,
    spellings,
)
from buildbot.util.deferreds import deferred
from buildbot.util.results import SUCCESS
from buildbot.util.urls import without_password

BRANCH_TYPES = ("dirname", "inrepo")

#: the name of the server's address in hg's configuration, and the environment variable that has the address
_NAME = "buildbot-address"
_VARIABLE = "BUILDBOT_HG_ADDRESS"
_HASH = re.compile(r"[0-9a-f]{40}\Z")
#: hg's message on a transaction that a killed hg has left, which ``hg recover`` undoes
_UNFINISHED = "abandoned transaction found"
#: hg's messages on a branch or revision that the server does not have
_MISSING = ("unknown revision", "unknown branch", "filtered revision", "ambiguous identifier")


class Mercurial(Source):
    """Check out the revision of the build's source stamp, or the newest of its branch, and set ``got_revision``."""

    name = "hg"
    program = ("hg", "--verbose", "--noninteractive")
    #: time for hg to remove its lock files
    sigterm_time_s: ClassVar[float | None] = 1
    positional: ClassVar[tuple[str, ...]] = (
        "repourl",
        "mode",
        "method",
        "defaultBranch",
        "branchType",
        "clobberOnBranchChange",
    )
    repourl = argument(
        REQUIRED,
        address,
        rendered=True,
        doc="the address to pull from; with `branchType='dirname'` the branch is appended",
    )
    method = method_of("clobber", "fresh", "clean", default="fresh")
    branchType = argument(
        "dirname",
        checks.one_of(*BRANCH_TYPES),
        rendered=True,
        doc="""the meaning of a branch: `dirname`: a repository of its own, whose address is `repourl` with the branch
        appended (no slash is added); `inrepo`: a named branch or bookmark of the one repository""",
    )
    defaultBranch = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="used if the source stamp has no branch; None: `repourl` itself, or its branch `default`",
    )
    clobberOnBranchChange = argument(
        True, checks.flag, rendered=True, doc="remove the directory where an earlier build had another branch"
    )

    def vc_environment(self) -> Mapping[str, Any]:
        """Output for programs, independent of the worker's own configuration."""
        return {"HGPLAIN": "1", "HGENCODING": "UTF-8"}

    def is_grave(self, line: str) -> bool:
        """Whether a line is hg's reason of a failure; a ``(run 'hg …')`` may follow it."""
        return line.startswith("abort:")

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out."""
        how = self.cleaning()
        branch = branch or self.defaultBranch
        require_names(branch, revision)
        inside = self.branchType == "inrepo"
        url = self.repourl if inside else f"{self.repourl}{branch or ''}"
        wanted = await self.retried(lambda: self.__look_up(url, revision or (branch if inside else None)))
        workdir = self.directory()
        there = how != "clobber" and await self.pathExists(f"{workdir}/.hg")
        if there and self.clobberOnBranchChange and await self.__was_other(url, branch if inside else None):
            there = False
            await self.runRmdir(workdir, self.timeout)
        elif how == "clobber":
            await self.runRmdir(workdir, self.timeout)
        await self.retried(lambda: self.__pull(url, wanted, there))
        if there:
            await self.__clean(how)
        await self.vc("update", "--clean", "--rev", wanted)
        if there and how == "clean":
            await self.__purge(how)  # files that the other revision ignored
        self.set_revision(wanted)
        await self.apply_patch(patch)
        return SUCCESS

    async def __look_up(self, url: str, name: str | None) -> str:
        """The hash of a revision on the server, by its name; without a name, of the newest on ``default``."""
        if name is not None and _HASH.match(name):
            return name
        for each in ("default", "tip") if name is None else (name,):
            words = ("identify", "--template", "{node}\n", "--rev", each)
            found = await self.__ask(url, *words, directory="")
            hashes = [line for line in found.stdout.splitlines() if _HASH.match(line)]
            if hashes and not found.didFail():
                return hashes[0]
            if not _is_missing(found):
                raise BuildStepFailed(self.complaint("identify", found))
        raise NotThereError(f"there is no {name or 'revision'} in {without_password(url)}")

    async def __was_other(self, url: str, branch: str | None) -> bool:
        """Whether the directory is of another branch than the wanted one."""
        if not await self.pathExists(self.mark_of(f"{self.directory()}/.hg", url)):
            return True
        if branch is None:
            return False
        template = "{branch}\n{bookmarks % '{bookmark}\n'}"
        return branch not in (await self.vc_output("log", "--rev", ".", "--template", template)).splitlines()

    async def __pull(self, url: str, wanted: str, there: bool) -> None:
        """Have the wanted revision in the directory's repository."""
        if there and await self.__has(wanted):
            return
        if not there and not await self.pathExists(f"{self.directory()}/.hg"):  # an earlier attempt may have begun
            await self.vc("init", ".")
            await self.write_file(self.mark_of(f"{self.directory()}/.hg", url), "")
            await self.write_file(f"{self.directory()}/.hg/hgrc", f"[paths]\ndefault = {url}\n", 0o600)
        pulled = await self.__pull_once(url, wanted if there else None)
        if pulled.didFail() and _UNFINISHED in pulled.stderr:
            await self.vc("recover")
            pulled = await self.__pull_once(url, None)
        if pulled.didFail():
            raise (NotThereError if _is_missing(pulled) else BuildStepFailed)(self.complaint("pull", pulled))

    async def __has(self, revision: str) -> bool:
        """Whether the directory's repository has the revision of this hash."""
        found = await self.vc("log", "--rev", revision, "--template", "{node}\n", check=False, log=None)
        return revision in found.stdout.splitlines()

    async def __pull_once(self, url: str, wanted: str | None) -> RemoteShellCommand:
        return await self.__ask(url, "pull", *(["--rev", wanted] if wanted else []))

    async def __ask(self, url: str, *words: str, directory: str | None = None) -> RemoteShellCommand:
        """Run a command with the address of the server as its last argument.

        An address with a password is an environment variable instead, which other users cannot read, and hg's
        configuration gives it a name.
        """
        if without_password(url) == url or not is_secret_variable(url):
            return await self.vc(*words, hidden_password(url), check=False, directory=directory)
        named = ("--config", f"paths.{_NAME}=${_VARIABLE}")
        return await self.vc(*words, *named, _NAME, check=False, directory=directory, secrets={_VARIABLE: url})

    async def __clean(self, how: str) -> None:
        """Remove files that are not tracked, by the method, and files that a patch has added."""
        added = await self.vc("status", "--added", "--no-status", "--print0", log=None)
        files = [f"{self.directory()}/{name}" for name in added.stdout.rstrip("\n").split("\0") if name]
        if files:
            await self.runRemoteCommand("rmdir", {"dir": files, "logEnviron": False})
        if how != "incremental":
            await self.__purge(how)

    async def __purge(self, how: str) -> None:
        everything = ["--all"] if how == "fresh" else []
        await self.vc("--config", "extensions.purge=", "purge", *everything)

    @deferred
    async def patch(self, patch: Patch) -> None:
        """Apply a patch to the files; added files are tracked, so that the next build finds and removes them."""
        where = [] if patch.subdir in ("", ".") else ["--prefix", patch.subdir]
        complaints: list[str] = []
        for text in spellings(patch.body):
            command = await self.vc("import", "--no-commit", "--strip", str(patch.level), *where, "-", stdin=text,
                                    check=False)  # fmt: skip
            if not command.didFail():
                return
            complaints.append(self.complaint("import", command))
        raise BuildStepFailed(complaints[0])


def _is_missing(command: RemoteShellCommand) -> bool:
    return any(words in command.stderr for words in _MISSING)
