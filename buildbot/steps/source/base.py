"""Base classes of steps that check out source code on the worker, or run a version control program there.

A version control system is a small subclass of `Source`: `Source.run_vc` brings the directory to a revision by the
commands that `VersionControl.vc` runs, and says which one it is with `Source.set_revision`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeVar

from twisted.internet.task import deferLater

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.interfaces import is_renderable
from buildbot.process.commandmixin import CommandMixin
from buildbot.process.environment import EnvironmentMixin
from buildbot.process.properties import Interpolate
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.step import BuildStep, BuildStepFailed, with_result
from buildbot.process.workers.transfers import MemoryReader
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.results import SUCCESS
from buildbot.util.urls import without_password

MODES = ("incremental", "full")
_BLOCK_BYTES = 32 * 1024
#: the file that marks a directory whose files have been patched
_PATCHED = ".buildbot-patched"

T = TypeVar("T")


class NotThereError(BuildStepFailed):
    """The server does not have the wanted branch or revision; another try does not help."""


class Patch(NamedTuple):
    """The patch of a source stamp; users' ``patch`` methods read it by position, too.

    Attributes:
        level: the number of leading directories of its file names to ignore, as ``-p`` of patch.
        body: its text.
        subdir: the directory that its file names are relative to, relative to the working directory.
    """

    level: int
    body: str
    subdir: str


class VersionControl(EnvironmentMixin, CommandMixin, BuildStep):
    """A step that runs a version control program on the worker."""

    #: the program, and the arguments that all its commands begin with
    program: ClassVar[tuple[str, ...]] = ()
    #: seconds between SIGTERM and the kill of a program that is stopped; None: no SIGTERM
    sigterm_time_s: ClassVar[float | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__environment_is_logged = False

    def vc_arguments(self) -> Sequence[Any]:
        """The program, and its arguments before the command; subclasses add options."""
        return self.program

    def vc_environment(self) -> Mapping[str, Any]:
        """Environment variables that the program needs; the step's ``env`` overwrites them."""
        return {}

    def vc_directory(self) -> str:
        """The directory of its commands, absolute or relative to the builder's."""
        return self.directory()

    @deferred
    async def vc(
        self,
        *args: Any,
        check: bool = True,
        log: str | None = "stdio",
        stdin: str | None = None,
        directory: str | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> RemoteShellCommand:
        """Run a command of the program.

        Args:
            args: the command and its arguments; a tuple ``("obfuscated", real, shown)`` hides a word from logs.
            check: whether its failure fails the step.
            log: the name of the log of its output; None: no log.
            stdin: its standard input.
            directory: the directory that it runs in; None: `vc_directory`.
            secrets: environment variables that are not logged, such as a password; unlike arguments, other users of
                the worker's machine cannot read them. See `is_secret_variable`.

        Returns:
            The command, with its output in ``stdout`` and ``stderr``.

        Raises:
            BuildStepFailed: it failed; the text is its `complaint`.
        """
        where = self.vc_directory() if directory is None else directory
        command = await self.__run_program([*self.vc_arguments(), *args], where, log, stdin, secrets or {})
        if check and command.didFail():
            raise BuildStepFailed(self.complaint(str(args[0]), command))
        return command

    async def __run_program(
        self,
        words: Sequence[Any],
        directory: str,
        log: str | None,
        stdin: str | None,
        secrets: Mapping[str, str] = MappingProxyType({}),
    ) -> RemoteShellCommand:
        command = RemoteShellCommand(
            directory,
            words,
            env={**await self.command_environment({**self.vc_environment(), **(self.env or {})}), **secrets},
            timeout=self.timeout,
            sigtermTime=self.sigterm_time_s,
            logEnviron=bool(self.logEnviron and log and not secrets and not self.__environment_is_logged),
            initialStdin=stdin,
            collectStdout=True,
            collectStderr=True,
            stdioLogName=log,
        )
        # all commands have the same, but for secrets
        self.__environment_is_logged |= log is not None and not secrets
        await self.runCommand(command)
        return command

    async def patch_with_program(self, patch: Patch) -> None:
        """Apply a patch with the program ``patch``, and mark the directory for `was_patched`."""
        directory = self.vc_directory()
        await self.write_file(f"{directory}/{_PATCHED}", "patched\n")
        complaint = ""
        for text in spellings(patch.body):
            words = ["patch", f"-p{patch.level}", "--force", "--forward", "-d", patch.subdir or "."]
            tried = await self.__run_program([*words, "--dry-run"], directory, "stdio", text)
            if not tried.didFail():
                await self.__run_program(words, directory, "stdio", text)
                return
            said = [
                line for line in (tried.stdout + tried.stderr).splitlines() if "FAILED" in line or "can't find" in line
            ]
            complaint = complaint or (said[0] if said else f"exit status {tried.rc}")
        raise BuildStepFailed(f"patch: {complaint}")

    async def was_patched(self, directory: str) -> bool:
        """Whether a build has applied a patch with `patch_with_program` in a directory that was not cleaned since."""
        return bool(await self.pathExists(f"{directory}/{_PATCHED}"))

    def mark_of(self, directory: str, *what: str) -> str:
        """The path of a marker file whose name is a hash of ``what``: the origin of the directory's content."""
        return f"{directory}/buildbot-{hashlib.sha256(repr(what).encode()).hexdigest()[:16]}"

    async def vc_output(self, *args: Any) -> str:
        """The output of a command, without white space around it; empty if it fails."""
        command = await self.vc(*args, check=False)
        return "" if command.didFail() else command.stdout.strip()

    @deferred
    async def _dovccmd(
        self,
        command: Sequence[Any],
        abandonOnFailure: bool = True,
        collectStdout: bool = False,
        initialStdin: str | None = None,
    ) -> Any:
        """`vc` under Buildbot's name: gives the output with ``collectStdout``, else the exit status."""
        done = await self.vc(*command, check=abandonOnFailure, stdin=initialStdin)
        return done.stdout if collectStdout else done.rc

    async def write_file(self, path: str, text: str, mode: int | None = None) -> None:
        """Write a file on the worker.

        Args:
            path: absolute, or relative to the builder's directory; with slashes.
            text: its content.
            mode: its permissions; None: those that the worker gives to new files.
        """
        directory, _, name = path.rpartition("/")
        args = {
            "workdir": directory,
            "workerdest": name,
            "reader": MemoryReader(text.encode("utf-8", "surrogateescape")),
        }
        await self.runRemoteCommand("downloadFile", {**args, "maxsize": None, "blocksize": _BLOCK_BYTES, "mode": mode})

    def complaint(self, what: str, command: RemoteShellCommand) -> str:
        """The reason of a failure, in one line: the timeout, the first grave line of error output, or its last line."""
        called = f"{self.program[0]} {what}"
        if command.failure_reason() is not None:
            return f"{called}: no output for {self.timeout} s"
        lines = [line for line in command.stderr.splitlines() if line.strip()]
        said = next(filter(self.is_grave, lines), lines[-1] if lines else f"exit status {command.rc}")
        return self.without_secrets(f"{called}: {said}")

    def is_grave(self, line: str) -> bool:
        """Whether a line of error output is the reason of a failure; later lines do not matter."""
        return line.startswith(("abort:", "error:", "fatal:"))

    def without_secrets(self, text: str) -> str:
        """``text`` without the passwords in URLs; subclasses hide more."""
        return without_password(text)


def _retry(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"must be (seconds, times), not {checks.kind(value)}")
    for each, check in zip(value, (checks.number(), checks.whole_number()), strict=True):
        try:
            check(each)
        except ValueError as reason:
            raise ValueError(f"must be (seconds, times): {each!r} {reason}") from None
    return value


class Source(VersionControl):
    """Check out the revision of the build's source stamp, or the newest of its branch, on the worker.

    The property ``got_revision`` is the revision; with a codebase it is a dictionary ``{codebase: revision}``.
    """

    name: Any = "source"
    haltOnFailure = True
    mode = argument(
        "incremental",
        checks.one_of(*MODES),
        rendered=True,
        doc="`incremental` keeps files that earlier builds made; `full` removes them, by one of the methods",
    )
    alwaysUseLatest = argument(
        False,
        checks.flag,
        rendered=True,
        doc="take the newest revision of the step's own branch and ignore the branch and revision of the source stamp",
    )
    codebase = argument("", checks.text, rendered=True, doc="the codebase of the source stamp to use")
    retry = argument(
        None,
        _retry,
        rendered=True,
        doc="`(seconds, times)`: the delay and the number of further tries if the server cannot be read; None: no more",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: the directory that is checked out, if that is not the working directory, which gets a copy of it
        self.checkout_directory = ""
        self.__revision = ""
        self.__suffix = self.descriptionSuffix
        if isinstance(self.codebase, str) and self.codebase:
            if is_renderable(self.name):
                self.name = Interpolate("%(kw:name)s-%(kw:codebase)s", name=self.name, codebase=self.codebase)
            else:
                self.name = f"{self.name}-{self.codebase}"
            if self.descriptionSuffix is None:
                self.descriptionSuffix = self.codebase

    def vc_directory(self) -> str:
        """The directory that is checked out."""
        return self.checkout_directory or super().vc_directory()

    def cleaning(self) -> str:
        """How files of earlier builds are removed: ``incremental``, or a method, by default ``fresh``."""
        method: str | None = getattr(self, "method", None)
        return (method or "fresh") if self.mode == "full" else "incremental"

    async def copy_checkout(self) -> None:
        """Replace the working directory by a copy of `checkout_directory`."""
        workdir = self.directory()
        await self.runRmdir(workdir, self.timeout)
        args = {"fromdir": self.checkout_directory, "todir": workdir, "logEnviron": False, "timeout": self.timeout}
        await self.runRemoteCommand("cpdir", args)

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out; subclasses implement it.

        Args:
            branch: the source stamp's; None: it names none, or ``alwaysUseLatest`` is set.
            revision: the one that is wanted; None: the newest of the branch.
            patch: to be applied with `apply_patch`; None: there is none.

        Returns:
            A result code.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run_vc()")

    async def run(self) -> int:
        """Check out by `run_vc`."""
        try:
            return await self.__run()
        except BuildStepFailed:
            self.descriptionSuffix = self.__suffix  # a complaint is shown without the codebase
            raise

    async def __run(self) -> int:
        stamp: Mapping[str, Any] | None = self.build.getSourceStamp(self.codebase)
        if stamp is None:
            raise BuildStepFailed(f"the build has no source stamp for codebase {self.codebase!r}")
        patch = await self.__patch_of(stamp)
        if self.alwaysUseLatest:
            return int(await resolved(self.run_vc(None, None, patch)))
        revision = (stamp["revision"] or "").strip()
        return int(await resolved(self.run_vc(stamp["branch"] or None, revision or None, patch)))

    async def __patch_of(self, stamp: Mapping[str, Any]) -> Patch | None:
        given = stamp.get("patch")
        if not given:
            return None
        if not given.get("body"):
            raise BuildStepFailed("the source stamp has a patch, but its text is not there")
        await self.addCompleteLog("patch", given["body"])
        level = 1 if given["level"] is None else given["level"]
        return Patch(level, given["body"], given.get("subdir") or ".")

    async def apply_patch(self, patch: Patch | None) -> None:
        """Apply the source stamp's patch, if there is one, with `patch`."""
        if patch is not None:
            await resolved(self.patch(patch))

    def patch(self, patch: Patch) -> Any:
        """Apply a patch to the checkout; BuildStepFailed if it cannot be applied. May return a Deferred."""
        raise BuildStepFailed(f"{type(self).__name__} cannot apply the source stamp's patch")

    async def retried(self, attempt: Callable[[], Awaitable[T]], at_once: int = 0) -> T:
        """The result of ``attempt``, which is tried again while it raises BuildStepFailed, as ``retry`` says.

        Args:
            attempt: called for each try; its `NotThereError` ends the tries.
            at_once: the number of further tries without delay, if ``retry`` is not set.
        """
        delay_s, times = self.retry or (0, at_once)
        for _ in range(times):
            try:
                return await attempt()
            except NotThereError:
                raise
            except BuildStepFailed:
                self.getLog("stdio").addHeader(f"trying again in {delay_s} s\n")
                await self.wait(deferLater(self.master.reactor, delay_s, lambda: None))
        return await attempt()

    def set_revision(self, revision: str) -> None:
        """Set ``got_revision``."""
        self.__revision = revision
        self.updateSourceProperty("got_revision", revision)

    def updateSourceProperty(self, name: str, value: Any, source: str = "") -> None:
        """Set a property; with a codebase the value becomes its entry in a dictionary of all codebases."""
        if self.codebase:
            known = self.getProperty(name)
            value = {**(known if isinstance(known, Mapping) else {}), self.codebase: value}
        self.setProperty(name, value, source or type(self).__name__)

    def getCurrentSummary(self) -> dict[str, str]:
        """The description, or "updating"."""
        return {"step": self.describe(self.description, "updating")}

    def getResultSummary(self) -> dict[str, str]:
        """The description, or "update" and the revision; and the result."""
        revision = self.short_revision(self.__revision) if self.results == SUCCESS else ""
        text = with_result(self.describe(self.descriptionDone, f"update {revision}".strip()), self.results)
        return {"step": text, "build": text}

    def short_revision(self, revision: str) -> str:
        """A revision, shortened for the step's text."""
        return revision[:10]


def address(value: Any) -> str:
    """Check the address of a repository; ValueError if a program could take it for an option."""
    if not checks.text(value) or value.startswith("-") or "\0" in value:
        raise ValueError(f"must be the address of a repository, not {checks.kind(value)}")
    return str(value)


def method_of(*methods: str, default: str) -> Any:
    """Declare the argument ``method`` of a version control system, whose None is the default."""
    return argument(
        None,
        checks.optional(checks.one_of(*methods)),
        rendered=True,
        doc=f"how `full` removes files of earlier builds: {', '.join(f'`{each}`' for each in methods)}; "
        f"None: `{default}`",
    )


def require_names(*names: str | None) -> None:
    """BuildStepFailed if a program would take the name of a branch or revision for an option."""
    for name in names:
        if name is not None and name.startswith("-"):
            raise BuildStepFailed(f"not the name of a branch or revision: {name!r}")


def hidden_password(url: str) -> Any:
    """An address as an argument for `VersionControl.vc`, which hides a password in it from logs."""
    shown = without_password(url)
    return url if shown == url else ("obfuscated", url, shown)


def is_secret_variable(value: str) -> bool:
    """Whether a text can be an environment variable of a command; workers replace ``${NAME}`` in its values."""
    return "${" not in value and "\0" not in value


def spellings(patch: str) -> list[str]:
    """A patch in the forms to try, the likeliest first: a form or a mail client may have changed its line ends.

    If all lines end with CRLF, the patch was probably converted as a whole, and its files have LF. A missing newline at
    the end is added, since git takes such a patch for damaged.
    """
    body = patch if patch.endswith("\n") else f"{patch}\n"
    if "\r\n" not in body:
        return [body]
    plain = body.replace("\r\n", "\n")
    if body.count("\r\n") < body.count("\n"):
        return [body, plain]
    content = re.sub(r"(?m)^(?!\+\+\+ |--- )([-+ ].*)$", "\\1\r", plain)
    return [plain, content]
