"""Steps that work with files on the worker, and the mixin with which users' steps do."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.logs import Log
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.step import BuildStep, BuildStepFailed
from buildbot.process.workers.transfers import Endpoint, MemoryReader, MemoryWriter
from buildbot.util.deferreds import deferred
from buildbot.util.results import FAILURE, SUCCESS

#: the most bytes of a file that is read into memory
MAX_CONTENT_BYTES = 32 * 1024 * 1024
_BLOCK_BYTES = 32 * 1024


def _did_fail(command: RemoteCommand) -> Any:
    return command.didFail()


class CompositeStepMixin:
    """A mixin for steps that run several commands on the worker; a step calls `addLogForRemoteCommands` first.

    `runRemoteCommand`, `runMkdir`, `runRmdir` and `runRmFile` give True when the command failed. Paths are relative to
    the builder's directory, those of `getFileContentFromWorker` and `downloadFileContentToWorker` to the step's own.
    """

    rc_log: Log | None = None

    @deferred
    async def addLogForRemoteCommands(self, logname: str) -> Log:
        """Begin the log of the commands' output; without one their output is dropped."""
        self.rc_log = await _step(self).addLog(logname)
        return self.rc_log

    @deferred
    async def runRemoteCommand(
        self,
        cmd: str,
        args: dict[str, Any],
        abandonOnFailure: bool = True,
        evaluateCommand: Callable[[RemoteCommand], Any] = _did_fail,
    ) -> Any:
        """Run a command of the worker's.

        Args:
            cmd: its name.
            args: its arguments.
            abandonOnFailure: a failure ends the step with FAILURE.
            evaluateCommand: makes the result from the ended command; by default whether it failed.
        """
        return evaluateCommand(await self.__run(cmd, args, abandonOnFailure))

    async def __run(self, cmd: str, args: dict[str, Any], abandon: bool) -> RemoteCommand:
        command = RemoteCommand(cmd, args, stdioLogName=None)
        if self.rc_log is not None:
            command.stdioLogName = self.rc_log.name
            command.useLog(self.rc_log)
        await _step(self).runCommand(command)
        problems = [each.problem for each in args.values() if isinstance(each, Endpoint) and each.problem is not None]
        if problems:
            raise BuildStepFailed(f"{cmd}: {problems[0]}")
        if abandon and command.didFail():
            raise BuildStepFailed(f"{cmd} failed")
        return command

    def __logs_environment(self) -> bool:
        return bool(getattr(self, "logEnviron", True))

    @deferred
    async def runRmdir(self, dir: str, timeout: float | None = None, **kwargs: Any) -> Any:
        """Remove a directory with its content; True if that failed. ``kwargs``: as for `runRemoteCommand`."""
        args: dict[str, Any] = {"dir": dir, "logEnviron": self.__logs_environment()}
        if timeout is not None:
            args["timeout"] = timeout
        return await self.runRemoteCommand("rmdir", args, **kwargs)

    @deferred
    async def runRmFile(self, path: str, timeout: float | None = None, **kwargs: Any) -> Any:
        """Remove a file; True if that failed. ``kwargs``: as for `runRemoteCommand`."""
        args: dict[str, Any] = {"path": path, "logEnviron": self.__logs_environment()}
        if timeout is not None:
            args["timeout"] = timeout
        return await self.runRemoteCommand("rmfile", args, **kwargs)

    @deferred
    async def pathExists(self, path: str) -> bool:
        """Whether a file or directory exists."""
        args = {"file": path, "logEnviron": self.__logs_environment()}
        return not (await self.__run("stat", args, False)).didFail()

    @deferred
    async def runMkdir(self, _dir: str, **kwargs: Any) -> Any:
        """Make a directory and its parents; True if that failed. ``kwargs``: as for `runRemoteCommand`."""
        args = {"dir": _dir, "logEnviron": self.__logs_environment()}
        return await self.runRemoteCommand("mkdir", args, **kwargs)

    @deferred
    async def runGlob(self, path: str, abandonOnFailure: bool = True) -> list[str]:
        """The paths that match a pattern, in the order in which the worker lists them."""
        args = {"path": path, "logEnviron": self.__logs_environment()}
        return (await self.__run("glob", args, abandonOnFailure)).texts("files")

    @deferred
    async def getFileContentFromWorker(self, filename: str, abandonOnFailure: bool = False) -> str | None:
        """The text of a UTF-8 file of at most 32 MiB; None if it cannot be read."""
        writer = MemoryWriter(MAX_CONTENT_BYTES)
        args = {
            "workdir": _step(self).directory(),
            "workersrc": filename,
            "writer": writer,
            "maxsize": None,
            "blocksize": _BLOCK_BYTES,
        }
        command = await self.__run("uploadFile", args, abandonOnFailure)
        return None if command.didFail() or not writer.ended else writer.content.decode("utf-8", "replace")

    @deferred
    async def downloadFileContentToWorker(
        self,
        workerdest: str,
        strfile: str | bytes,
        abandonOnFailure: bool = False,
        mode: int | None = None,
        workdir: str | None = None,
    ) -> bool:
        """Write a file on the worker; True if that failed.

        Args:
            workerdest: its path.
            strfile: its content; a text becomes UTF-8.
            abandonOnFailure: a failure ends the step with FAILURE.
            mode: its permission bits; None: as the worker makes files.
            workdir: the directory that the path is relative to; None: the step's.
        """
        args = {
            "workdir": _step(self).directory() if workdir is None else workdir,
            "workerdest": workerdest,
            "reader": MemoryReader(strfile.encode() if isinstance(strfile, str) else strfile),
            "maxsize": None,
            "blocksize": _BLOCK_BYTES,
            "mode": mode,
        }
        return (await self.__run("downloadFile", args, abandonOnFailure)).didFail()

    def workerPathToMasterPath(self, path: str) -> str:
        """A relative path on the worker, with the master's separators."""
        windows = _step(self).build.connection.info.get("system") == "nt"
        return path.replace("\\", "/") if windows else path


def _step(mixin: CompositeStepMixin) -> BuildStep:
    if not isinstance(mixin, BuildStep):
        raise TypeError("CompositeStepMixin is for subclasses of BuildStep")
    return mixin


class WorkerFileStep(BuildStep):
    """The base of the steps for files on the worker. Paths are relative to the builder's directory."""

    haltOnFailure = True

    def getCurrentSummary(self) -> Any:
        """The description, or the step's own words."""
        return {"step": self.describe(self.description, _words(self)[0])}

    def getResultSummary(self) -> Any:
        """The description, or the step's own words; and the result."""
        doing, done, failed = _words(self)
        return self.summary_of_result({SUCCESS: done, FAILURE: failed}.get(self.results or 0, doing))


async def _ran(step: BuildStep, command: str, args: dict[str, Any]) -> int:
    """Run a command without a log; the result code."""
    return (await step.runCommand(RemoteCommand(command, args, stdioLogName=None))).results()


class FileExists(WorkerFileStep):
    """Fail unless a file exists."""

    name = "FileExists"
    positional: ClassVar[tuple[str, ...]] = ("file",)
    file = argument(REQUIRED, checks.name, rendered=True, doc="the file")

    async def run(self) -> int:
        """Ask the worker for the file."""
        results = await _ran(self, "stat", {"file": self.file})
        return results if results != SUCCESS or self.cmd is None or _is_file(self.cmd) else FAILURE


class CopyDirectory(WorkerFileStep):
    """Copy a directory with its content."""

    name = "CopyDirectory"
    positional: ClassVar[tuple[str, ...]] = ("src", "dest", "timeout", "maxTime")
    src = argument(REQUIRED, checks.name, rendered=True, doc="the directory")
    dest = argument(
        REQUIRED, checks.name, rendered=True, doc="the copy; the files are added to a directory that exists"
    )
    timeout = argument(
        120, checks.optional(checks.number()), rendered=True, doc="seconds without output after which it is killed"
    )
    maxTime = argument(
        None, checks.optional(checks.number()), rendered=True, doc="seconds after which it is killed; None: no limit"
    )

    async def run(self) -> int:
        """Copy the directory."""
        args = {"fromdir": self.src, "todir": self.dest, "timeout": self.timeout}
        if self.maxTime:
            args["maxTime"] = self.maxTime
        return await _ran(self, "cpdir", args)


class RemoveDirectory(WorkerFileStep):
    """Remove a directory with its content, or a file; success also if there is none."""

    name = "RemoveDirectory"
    positional: ClassVar[tuple[str, ...]] = ("dir",)
    dir = argument(REQUIRED, checks.name, rendered=True, doc="the directory")

    async def run(self) -> int:
        """Remove the directory."""
        return await _ran(self, "rmdir", {"dir": self.dir})


class MakeDirectory(WorkerFileStep):
    """Make a directory and its parents; success also if it exists."""

    name = "MakeDirectory"
    positional: ClassVar[tuple[str, ...]] = ("dir",)
    dir = argument(REQUIRED, checks.name, rendered=True, doc="the directory")

    async def run(self) -> int:
        """Make the directory."""
        return await _ran(self, "mkdir", {"dir": self.dir})


def _is_file(command: RemoteCommand) -> bool:
    """Whether a stat command found a file, not a directory."""
    found = command.updates.get("stat", [()])[-1]
    return isinstance(found, (list, tuple)) and bool(found) and type(found[0]) is int and stat.S_ISREG(found[0])


def _words(step: WorkerFileStep) -> tuple[str, str, str]:
    """The descriptions of a step while it runs, after success and after failure."""
    match step:
        case FileExists():
            return "Checking", "File found.", "File not found." if not step.cmd or step.cmd.didFail() else "Not a file."
        case CopyDirectory():
            what = f"{step.src} to {step.dest}"
            return f"Copying {what}", f"Copied {what}", f"Copying {what} failed."
        case RemoveDirectory():
            return "Deleting", "Deleted", "Delete failed."
        case _:
            return "Creating", "Created", "Create failed."


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else checks.list_of(checks.text)(value)


class SetPropertiesFromEnv(BuildStep):
    """Set properties from variables of the worker's environment; a missing variable sets none."""

    name = "SetPropertiesFromEnv"
    haltOnFailure = True
    description = "Setting"
    descriptionDone = "Set"
    positional: ClassVar[tuple[str, ...]] = ("variables", "source")
    variables = argument(REQUIRED, _names, rendered=True, doc="the names of the variables, a list or a text")
    source = argument("WorkerEnvironment", checks.text, rendered=True, doc="the source of the properties")

    async def run(self) -> int:
        """Set the properties."""
        connection = self.build.connection
        windows = connection.info.get("system") == "nt"  # names of variables are case-insensitive there
        environ = {name.upper() if windows else name: value for name, value in connection.environ.items()}
        lines = []
        for name in self.variables:
            value = environ.get(name.upper() if windows else name)
            if value is not None:
                self.setProperty(name, value, self.source)
                lines.append(f"{name} = {value!r}\n")
        await self.addCompleteLog("properties", "".join(lines))
        return SUCCESS
