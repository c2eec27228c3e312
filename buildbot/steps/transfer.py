"""Steps that move files between the master and the worker.

The worker is not trusted. Its files are written to the place that the configuration names and nowhere else, their size
is limited by ``maxsize``, and each gets its name only when it is complete.
"""

from __future__ import annotations

import json
import ntpath
import os
import posixpath
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.threads import deferToThreadPool

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.interfaces import IRenderable
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.step import BuildStep, BuildStepFailed
from buildbot.process.workers.files import DirectoryWriter, FileReader, FileWriter
from buildbot.process.workers.transfers import MAX_BLOCK_BYTES, Endpoint, MemoryReader, Reader
from buildbot.util.deferreds import resolved
from buildbot.util.results import FAILURE, SKIPPED, SUCCESS
from buildbot.util.untar import COMPRESSIONS

_MODE_DOC = "permission bits of the new file, for example `0o644`; None: those that programs there give to new files"


def _mode(value: Any) -> Any:
    if checks.whole_number()(value) > 0o7777:
        raise ValueError(f"must be permission bits such as 0o644, not {value}")
    return value


def _maxsize() -> Any:
    return argument(
        None,
        checks.optional(checks.whole_number()),
        rendered=True,
        doc="the most bytes of a transfer; a larger one fails the step",
    )


def _blocksize(default: int) -> Any:
    return argument(
        default,
        checks.whole_number(1),
        rendered=True,
        doc=f"bytes of one message; at most {MAX_BLOCK_BYTES}, also if more are given",
    )


def _sources(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else checks.list_of(checks.text)(value)


def _json(value: Any) -> Any:
    def rendered(each: Any) -> Any:
        if isinstance(each, IRenderable):
            return None
        raise TypeError(f"Object of type {type(each).__name__} is not JSON serializable")

    try:
        json.dumps(value, default=rendered)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"must be JSON: {problem}") from None
    return value


def _master_path(step: BuildStep, path: str) -> Path:
    return Path(step.master.basedir, os.path.expanduser(path))


def _basename(step: BuildStep, path: str) -> str:
    """The last part of a path on the worker."""
    if step.build.connection.info.get("system") == "nt":
        return ntpath.basename(path.rstrip("/\\"))
    return posixpath.basename(path.rstrip("/"))


def _limit(maxsize: int | None) -> int | None:
    """The size limit for the worker: an agent treats a file of exactly its limit as too long."""
    return None if maxsize is None else maxsize + 1


async def _transfer(step: BuildStep, name: str, args: dict[str, Any], endpoint: Endpoint) -> bool:
    """Run a transfer to its end; whether it succeeded. BuildStepFailed if the master could not do its part."""
    command = await step.runCommand(RemoteCommand(name, args))
    if endpoint.problem is None and not command.didFail() and not endpoint.ended and "writer" in args:
        endpoint.fail("the worker did not say that the file is complete")
    _check(step, endpoint)
    return not command.didFail()


def _check(step: BuildStep, endpoint: Endpoint) -> None:
    if endpoint.problem is not None:
        step.getLog("stdio").addStderr(f"{endpoint.problem}\n")
        raise BuildStepFailed(f"{step.describe(_doing(step))}: {endpoint.problem}")


async def _upload_file(step: Any, source: str, path: Path, mode: int | None, keepstamp: bool) -> int:
    """Upload a file to a path on the master; the result code."""
    writer = FileWriter(path, step.maxsize, mode)
    try:
        args = {
            "workdir": step.directory(),
            "workersrc": source,
            "writer": writer,
            "maxsize": _limit(step.maxsize),
            "blocksize": min(step.blocksize, MAX_BLOCK_BYTES),
            "keepstamp": bool(keepstamp),
        }
        if not await _transfer(step, "uploadFile", args, writer):
            return FAILURE
        try:
            writer.commit()
        except OSError as problem:
            writer.fail(f"{problem.strerror}: {path}")
        _check(step, writer)
    finally:
        writer.abort()
    return SUCCESS


async def _upload_directory(step: Any, source: str, path: Path) -> int:
    """Upload a directory to a path on the master; the result code."""
    writer = DirectoryWriter(path, step.compress, step.maxsize)
    reactor = step.master.reactor
    try:
        args = {
            "workdir": step.directory(),
            "workersrc": source,
            "writer": writer,
            "maxsize": _limit(step.maxsize),
            "blocksize": min(step.blocksize, MAX_BLOCK_BYTES),
            "compress": step.compress,
        }
        if not await _transfer(step, "uploadDirectory", args, writer):
            return FAILURE
        try:
            await deferToThreadPool(reactor, reactor.getThreadPool(), writer.commit)
        except OSError as problem:
            writer.fail(f"{problem.strerror}: {problem.filename or path}")
        except ValueError as problem:
            writer.fail(str(problem))
        _check(step, writer)
    finally:
        await deferToThreadPool(reactor, reactor.getThreadPool(), writer.abort)
    return SUCCESS


async def _download(step: Any, reader: Reader) -> int:
    """Download a file to the worker; the result code."""
    args = {
        "workdir": step.directory(),
        "workerdest": step.workerdest,
        "reader": reader,
        "maxsize": _limit(step.maxsize),
        "blocksize": min(step.blocksize, MAX_BLOCK_BYTES),
        "mode": step.mode,
    }
    return SUCCESS if await _transfer(step, "downloadFile", args, reader) else FAILURE


class TransferStep(BuildStep):
    """The base of all transfers."""

    haltOnFailure = True
    maxsize = _maxsize()

    def getCurrentSummary(self) -> Any:
        """The description, or the direction and the name of the file."""
        return {"step": self.describe(self.description, _doing(self), "running")}

    def getResultSummary(self) -> Any:
        """The description, or the direction and the name of the file; and the result."""
        return self.summary_of_result(_doing(self))


class UploadStep(TransferStep):
    """The base of uploads."""

    masterdest = argument(
        REQUIRED,
        checks.name,
        rendered=True,
        doc="the path on the master, relative to the master's base directory; `~` is a home directory",
    )
    url = argument(None, checks.optional(checks.text), rendered=True, doc="a link that the step shows after the upload")
    urlText = argument(
        None, checks.optional(checks.text), rendered=True, doc="the link's text; None: the last part of `masterdest`"
    )


class FileUpload(UploadStep):
    """Upload a file from the worker to the master."""

    name = "upload"
    positional: ClassVar[tuple[str, ...]] = (
        "workersrc", "masterdest", "workdir", "maxsize", "blocksize", "mode", "keepstamp", "url", "urlText"
    )  # fmt: skip
    workersrc = argument(REQUIRED, checks.name, rendered=True, doc="the file, relative to the step's directory")
    blocksize = _blocksize(256 * 1024)
    mode = argument(None, checks.optional(_mode), rendered=True, doc=_MODE_DOC)
    keepstamp: Any = argument(False, checks.flag, rendered=True, doc="keep the times of the worker's file")

    async def run(self) -> int:
        """Upload the file."""
        path = _master_path(self, self.masterdest)
        results = await _upload_file(self, self.workersrc, path, self.mode, self.keepstamp)
        await _show_link(self, results)
        return results


class DirectoryUpload(UploadStep):
    """Upload a directory with its content from the worker to the master.

    Files that are on the master already stay, unless the worker sends one of the same name. Links that point out of the
    directory, devices, and names that lead out of it fail the step; nothing of the upload is kept then.
    """

    name = "upload"
    positional: ClassVar[tuple[str, ...]] = (
        "workersrc", "masterdest", "workdir", "maxsize", "blocksize", "compress", "url", "urlText"
    )  # fmt: skip
    workersrc = argument(REQUIRED, checks.name, rendered=True, doc="the directory, relative to the step's own")
    blocksize = _blocksize(16 * 1024)
    compress = argument(
        None,
        checks.one_of(None, *COMPRESSIONS),
        rendered=True,
        doc="compression on the network: `'gz'`, `'bz2'` or None",
    )

    async def run(self) -> int:
        """Upload the directory."""
        results = await _upload_directory(self, self.workersrc, _master_path(self, self.masterdest))
        await _show_link(self, results)
        return results


class MultipleFileUpload(UploadStep):
    """Upload several files and directories from the worker into one directory on the master."""

    name = "upload"
    positional: ClassVar[tuple[str, ...]] = (
        "workersrcs",
        "masterdest",
        "workdir",
        "maxsize",
        "blocksize",
        "glob",
        "mode",
        "compress",
        "keepstamp",
        "url",
        "urlText",
    )
    workersrcs: Any = argument(
        REQUIRED, _sources, rendered=True, doc="the files and directories, a list or a text; with `glob`: patterns"
    )
    blocksize = _blocksize(16 * 1024)
    glob = argument(
        False,
        checks.flag,
        rendered=True,
        doc="whether `workersrcs` are patterns, in which `**` matches any directories",
    )
    mode = argument(None, checks.optional(_mode), rendered=True, doc=_MODE_DOC)
    compress = argument(
        None,
        checks.one_of(None, *COMPRESSIONS),
        rendered=True,
        doc="compression of directories on the network: `'gz'`, `'bz2'` or None",
    )
    keepstamp: Any = argument(False, checks.flag, rendered=True, doc="keep the times of the worker's files")

    async def run(self) -> int:
        """Upload the sources in their order, up to the first that fails."""
        sources = list(self.workersrcs)
        if self.glob:
            self.workersrcs = sources = await self.__matches(sources)
        if not sources:
            return SKIPPED
        results = SUCCESS
        for source in sources:
            results = await resolved(self.startUpload(source, self.masterdest))
            if results == FAILURE:
                break
        await resolved(self.allUploadsDone(results, sources, self.masterdest))
        await _show_link(self, results)
        return results

    async def startUpload(self, source: str, masterdest: str) -> int:
        """Upload one file or directory; the result code."""
        command = RemoteCommand("stat", {"file": source, "workdir": self.directory()})
        await self.runCommand(command)
        found = command.updates.get("stat", [()])[-1]
        mode = found[0] if isinstance(found, (list, tuple)) and found and type(found[0]) is int else 0
        if command.didFail() or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            why = "not available at worker" if command.didFail() else "neither a file nor a directory"
            await self.addCompleteLog("stderr", f"File {source!r} {why}\n")
            return FAILURE
        upload = self.uploadDirectory if stat.S_ISDIR(mode) else self.uploadFile
        results: int = await resolved(upload(source, masterdest))
        await resolved(self.uploadDone(results, source, masterdest))
        return results

    async def uploadFile(self, source: str, masterdest: str) -> int:
        """Upload a file; the result code."""
        return await _upload_file(self, source, self.__place(source, masterdest), self.mode, self.keepstamp)

    async def uploadDirectory(self, source: str, masterdest: str) -> int:
        """Upload a directory; the result code."""
        return await _upload_directory(self, source, self.__place(source, masterdest))

    def uploadDone(self, result: int, source: str, masterdest: str) -> Any:
        """Called after each file or directory, for subclasses; may return a Deferred."""

    def allUploadsDone(self, result: int, sources: Sequence[str], masterdest: str) -> Any:
        """Called after the last one, for subclasses; may return a Deferred."""

    def __place(self, source: str, masterdest: str) -> Path:
        name = _basename(self, source)
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise BuildStepFailed(f"{source!r:.200} does not end with a name that a file on the master can have")
        return _master_path(self, masterdest) / name

    async def __matches(self, patterns: Sequence[str]) -> list[str]:
        """The files that the patterns match, each once."""
        windows = self.build.connection.info.get("system") == "nt"
        join = ntpath.join if windows else posixpath.join
        found: dict[str, None] = {}
        for pattern in patterns:
            command = RemoteCommand("glob", {"path": join(self.directory(), pattern), "logEnviron": False})
            await self.runCommand(command)
            if command.didFail():
                raise BuildStepFailed(f"the worker cannot look for {pattern!r:.200}")
            found |= dict.fromkeys(sorted(command.texts("files")))
        return list(found)


class DownloadStep(TransferStep):
    """The base of downloads."""

    workerdest = argument(
        REQUIRED, checks.name, rendered=True, doc="the path on the worker, relative to the step's directory"
    )
    blocksize = _blocksize(16 * 1024)
    mode = argument(None, checks.optional(_mode), rendered=True, doc=_MODE_DOC)


class FileDownload(DownloadStep):
    """Download a file from the master to the worker."""

    name = "download"
    positional: ClassVar[tuple[str, ...]] = ("mastersrc", "workerdest", "workdir", "maxsize", "blocksize", "mode")
    mastersrc = argument(
        REQUIRED,
        checks.name,
        rendered=True,
        doc="the file, relative to the master's base directory; `~` is a home directory",
    )

    async def run(self) -> int:
        """Download the file."""
        path = _master_path(self, self.mastersrc)
        try:
            reader = FileReader(path)
        except OSError as problem:
            await self.addCompleteLog("stderr", f"File {str(path)!r} not available at master: {problem.strerror}\n")
            raise BuildStepFailed(f"{self.describe(_doing(self))}: {problem.strerror}") from None
        try:
            return await _download(self, reader)
        finally:
            reader.done()


class StringDownload(DownloadStep):
    """Write a text into a file on the worker."""

    name = "string_download"
    positional: ClassVar[tuple[str, ...]] = ("s", "workerdest", "workdir", "maxsize", "blocksize", "mode")
    s = argument(
        REQUIRED,
        checks.either(checks.text, checks.bytes_, otherwise="a text or bytes"),
        rendered=True,
        doc="the text, which is written as UTF-8, or bytes",
    )

    async def run(self) -> int:
        """Write the file."""
        return await _download(self, MemoryReader(self.s.encode() if isinstance(self.s, str) else self.s))


class JSONStringDownload(DownloadStep):
    """Write a value into a file on the worker, as JSON."""

    name = "json_download"
    positional: ClassVar[tuple[str, ...]] = ("o", "workerdest", "workdir", "maxsize", "blocksize", "mode")
    o = argument(REQUIRED, _json, rendered=True, doc="the value, in which renderables are replaced")

    async def run(self) -> int:
        """Write the file."""
        return await _download(self, MemoryReader(json.dumps(self.o).encode()))


class JSONPropertiesDownload(DownloadStep):
    """Write the build's properties and source stamps into a file on the worker, as JSON.

    The file holds ``{"properties": {name: value}, "sourcestamps": [{"branch": …, "revision": …, …}]}``.
    """

    name = "json_properties_download"
    positional: ClassVar[tuple[str, ...]] = ("workerdest", "workdir", "maxsize", "blocksize", "mode")

    async def run(self) -> int:
        """Write the file."""
        properties = {name: value for name, value, _ in self.getProperties().asList()}
        stamps = [_stamp(stamp) for stamp in self.build.getAllSourceStamps()]
        content = json.dumps({"properties": properties, "sourcestamps": stamps})
        return await _download(self, MemoryReader(content.encode()))


def _doing(step: BuildStep) -> str:
    """The description of a transfer; empty until it is rendered."""
    if isinstance(step, MultipleFileUpload):
        if not isinstance(step.workersrcs, (list, tuple)):
            return ""
        return f"uploading {len(step.workersrcs)} {'file' if len(step.workersrcs) == 1 else 'files'}"
    what, path = "downloading to", getattr(step, "workerdest", None)
    if isinstance(step, UploadStep):
        what, path = "uploading", getattr(step, "workersrc", None)
    return f"{what} {posixpath.basename(path.rstrip('/'))}" if isinstance(path, str) else ""


async def _show_link(step: UploadStep, results: int) -> None:
    """Show the link of an upload that succeeded, if it has one."""
    if step.url is not None and results == SUCCESS:
        await step.addURL(step.urlText or os.path.basename(step.masterdest.rstrip("/")), step.url)


def _stamp(stamp: Any) -> dict[str, Any]:
    """A source stamp as `JSONPropertiesDownload` writes it."""
    shown = {name: stamp[name] for name in ("branch", "revision", "repository", "project", "codebase")}
    patch = stamp.get("patch") or {}
    for name in ("level", "body", "subdir", "author", "comment"):
        shown[f"patch_{name}"] = patch.get(name)
    return shown
