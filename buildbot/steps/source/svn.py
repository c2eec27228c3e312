"""A step that checks out a Subversion repository on the worker."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import NotThereError, Patch, Source, address, method_of, spellings
from buildbot.util.deferreds import deferred
from buildbot.util.results import SUCCESS
from buildbot.util.urls import without_only_password, without_password

DEPTHS = ("empty", "files", "immediates", "infinity")

#: error codes of svn for an address or revision that the server does not have
_MISSING = ("E160006", "E160013", "E170000", "E195012")
#: lines of `svn patch` that say that a part of a patch was not applied
_NOT_APPLIED = ("C ", ">", "Skipped")
#: names of revisions whose meaning depends on the working copy
_OF_WORKING_COPY = ("BASE", "COMMITTED", "PREV")
_PATCH = ".svn/buildbot.diff"


class SVN(Source):
    """Check out the revision of the build's source stamp, or the newest, and set ``got_revision`` to its number.

    The branch is a part of the address: ``repourl=util.Interpolate("https://…/%(src::branch:-trunk)s")``.
    """

    name = "svn"
    program = ("svn",)
    sigterm_time_s: ClassVar[float | None] = 1
    positional: ClassVar[tuple[str, ...]] = (
        "repourl",
        "mode",
        "method",
        "username",
        "password",
        "extra_args",
        "keep_on_purge",
        "depth",
        "preferLastChangedRev",
    )
    repourl = argument(REQUIRED, address, rendered=True, doc="the address to check out, with the branch")
    method = method_of("clobber", "fresh", "clean", "copy", "export", default="fresh")
    username = argument(None, checks.optional(checks.text), rendered=True, doc="to log in with")
    password = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="to log in with; logs do not show it, nor do arguments of svn from 1.10 on",
    )
    extra_args = argument(
        None, checks.optional(checks.list_of(checks.text)), rendered=True, doc="further arguments of all svn commands"
    )
    keep_on_purge = argument(
        None,
        checks.optional(checks.list_of(checks.text)),
        rendered=True,
        doc="paths in the working directory that `fresh` and `clean` leave there",
    )
    depth = argument(
        None, checks.optional(checks.one_of(*DEPTHS)), rendered=True, doc="how much of the tree to check out; None: all"
    )
    preferLastChangedRev = argument(
        False,
        checks.flag,
        rendered=True,
        doc="`got_revision` is the last one that changed something at `repourl`, not that of the whole repository",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__reads_password = False

    def is_grave(self, line: str) -> bool:
        """No line is: svn writes the reason last, which `complaint` takes then."""
        return False

    def without_secrets(self, text: str) -> str:
        """``text`` without the password."""
        shown = super().without_secrets(text)
        return shown.replace(self.password, "XXXXXX") if self.password else shown

    def __login(self) -> list[Any]:
        words: list[Any] = ["--username", self.username] if self.username else []
        if self.__reads_password:
            return [*words, "--password-from-stdin"]
        return [*words, *(["--password", ("obfuscated", self.password, "XXXXXX")] if self.password else [])]

    async def __svn(self, *words: Any, check: bool = True) -> RemoteShellCommand:
        """Run svn with the options of commands that may ask the server."""
        stdin = f"{self.password}\n" if self.__reads_password else None
        return await self.vc(
            *words, *self.__options(depth=words[0] in ("checkout", "update")), check=check, stdin=stdin
        )

    async def __find_way_to_log_in(self) -> None:
        """Find out whether svn reads a password from its input, as since 1.10; other users can read arguments."""
        if self.password:
            said = await self.vc_output("--version", "--quiet")
            version = re.match(r"(\d+)\.(\d+)", said)
            self.__reads_password = version is not None and (int(version[1]), int(version[2])) >= (1, 10)

    def __options(self, depth: bool = False) -> list[Any]:
        words = ["--non-interactive", "--no-auth-cache", *self.__login()]
        words += ["--depth", self.depth] if depth and self.depth else []
        return [*words, *(self.extra_args or ())]

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out."""
        how = self.cleaning()
        if revision is not None and revision.startswith("-"):
            raise BuildStepFailed(f"not the name of a revision: {revision!r}")
        if revision is not None and revision.upper() in _OF_WORKING_COPY:
            raise BuildStepFailed(f"revision {revision} depends on the files of an older build; give a number or HEAD")
        await self.__find_way_to_log_in()
        workdir = self.directory()
        self.checkout_directory = "source" if how in ("copy", "export") else workdir
        at = ["--revision", revision] if revision else []
        if how == "clobber" or not await self.__is_ours():
            await self.runRmdir(self.checkout_directory, self.timeout)
            url = without_only_password(self.repourl)  # svn ignores a password in an address, and shows it
            await self.retried(lambda: self.__get("checkout", url, ".", *at))
        else:
            await self.__clean(how)
            await self.retried(lambda: self.__get("update", *at))
        await self.__set_revision()
        await self.apply_patch(patch)
        if self.checkout_directory != workdir:
            await self.__copy(how, at if patch is None else [])
        return SUCCESS

    async def __get(self, *words: Any) -> None:
        """Check out or update."""
        command = await self.__svn(*words, check=False)
        if command.didFail():
            missing = any(code in command.stderr for code in _MISSING)
            raise (NotThereError if missing else BuildStepFailed)(self.complaint(words[0], command))

    async def __is_ours(self) -> bool:
        """Whether the directory is an undamaged checkout of the wanted address."""
        if not await self.pathExists(f"{self.checkout_directory}/.svn"):
            return False
        await self.vc("cleanup", check=False)  # removes locks of a killed svn
        info = await self.__svn("info", "--xml", check=False)
        if info.didFail():
            return False
        url = _parsed(info).findtext("entry/url")
        return url is not None and _same(without_password(url), without_password(self.repourl))

    async def __clean(self, how: str) -> None:
        """Undo changes of files; remove files that are not tracked, by the method, and files that a patch has added."""
        ignored = ["--no-ignore"] if how == "fresh" else []
        status = await self.__svn("status", "--xml", *ignored)
        kept = [posixpath.normpath(each) for each in self.keep_on_purge or ()]
        # the parent directories of a kept path are kept, too
        foreign = [
            f"{self.checkout_directory}/{path}"
            for path, state in _states(status)
            if state == "added"
            or (
                how in ("fresh", "clean", "copy", "export")
                and state in ("unversioned", "ignored")
                and not any(_is_in(path, each) or _is_in(each, path) for each in kept)
            )
        ]
        await self.vc("revert", "--recursive", ".")
        if foreign:
            await self.runRemoteCommand("rmdir", {"dir": foreign, "logEnviron": False, "timeout": self.timeout})

    async def __set_revision(self) -> None:
        info = await self.vc("info", "--xml")
        entry = _parsed(info).find("entry")
        found = entry.find("commit") if entry is not None and self.preferLastChangedRev else entry
        revision = found.get("revision") if found is not None else None
        if not revision or not revision.isdigit():
            raise BuildStepFailed("svn info does not say which revision was checked out")
        self.set_revision(revision)

    async def __copy(self, how: str, at: list[str]) -> None:
        """Replace the working directory by a copy of the checkout; with ``export``, of its tracked files only."""
        if how == "export":
            await self.runRmdir(self.directory(), self.timeout)
            stdin = f"{self.password}\n" if self.__reads_password else None
            words = ("export", *at, *self.__login(), self.checkout_directory, self.directory())
            await self.vc(*words, directory="", stdin=stdin)
        else:
            await self.copy_checkout()

    @deferred
    async def patch(self, patch: Patch) -> None:
        """Apply a patch to the files; the next build undoes it."""
        where = posixpath.normpath(patch.subdir)
        path = f"{self.checkout_directory}/{_PATCH}"
        complaint = ""
        for text in spellings(patch.body):
            await self.write_file(path, text)
            words = ("patch", "--strip", str(patch.level))
            tried = await self.vc(*words, "--dry-run", _PATCH, where, check=False)
            missed = [line for line in tried.stdout.splitlines() if line.startswith(_NOT_APPLIED)]
            if not tried.didFail() and not missed and tried.stdout.strip():
                await self.vc(*words, _PATCH, where)
                return
            said = self.complaint("patch", tried) if tried.didFail() else f"svn patch: {(missed or ['no change'])[0]}"
            complaint = complaint or said
        raise BuildStepFailed(complaint)


def _parsed(command: RemoteShellCommand) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(command.stdout)
    except ElementTree.ParseError as problem:
        raise BuildStepFailed(f"svn did not answer in XML: {problem}") from None


def _states(command: RemoteShellCommand) -> Iterator[tuple[str, str]]:
    """The paths in the output of ``svn status``, with their states."""
    for entry in _parsed(command).iter("entry"):
        status = entry.find("wc-status")
        path = entry.get("path")
        if path and status is not None:
            yield path.replace("\\", "/"), status.get("item", "")


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")


def _same(left: str, right: str) -> bool:
    """Whether two addresses are equal, with special characters escaped or not."""
    return quote(unquote(left)).rstrip("/") == quote(unquote(right)).rstrip("/")
