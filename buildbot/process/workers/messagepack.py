"""An agent that speaks MessagePack over WebSocket (``--protocol=msgpack_experimental_v7``).

Each message is a map with ``op`` and ``seq_number``, a number of the sender's own; the answer to a request is a map
with ``op`` ``response`` and the request's number. The agent knows no builders: the connection makes their directories,
and removes left over ones, by commands of its own. The agent goes on with commands when the connection is lost or it is
shut down, so running commands are interrupted before a shutdown.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast

import msgpack
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buildbot.process.workers.connection import RemoteError, WorkerLostError
from buildbot.process.workers.door import Strangers
from buildbot.process.workers.login import Login
from buildbot.process.workers.spelling import Place, Spelled, spelled
from buildbot.process.workers.transfers import Reader, Writer
from buildbot.process.workers.websocket import AgentLink, LinkFactory, MessageConnection
from buildbot.util.background import in_background
from buildbot.util.deferreds import resolved

_log = Logger()

#: items of one list or map; the lines of some megabytes of output, the files of a large directory
MAX_ITEMS = 640 * 1024
#: requests of an agent that may wait for their answers; agents wait for one at a time
MAX_WAITING = 1000
#: how agents send output: after at most a second (over PB: five). Agents lose text of lines that are longer than their
#: limit, so that is high. As over PB, all line ends of terminals count.
SETTINGS: dict[str, Any] = {
    "buffer_size": 64 * 1024,
    "buffer_timeout": 1,
    "newline_re": r"(\r\n|\r(?=.)|\x1b\[u|\x1b\[[0-9]+;[0-9]+[Hf]|\x1b\[2J|\x08+)",
    "max_line_length": 1_000_000,
}
#: entries of an agent's directory besides the directories of its builders
_AGENTS_OWN = "info"
#: the beginning of a failure that Twisted prints
_FAILURE = "[Failure instance: Traceback: "


def make_factory(login: Login, strangers: Strangers) -> LinkFactory:
    """The server factory for workers over MessagePack.

    Args:
        login: checks the logins, and takes workers into service.
        strangers: the connections that have not logged in, at this port and at others.
    """
    return LinkFactory(login, strangers, MessagePackConnection)


class MessagePackConnection(MessageConnection):
    """An agent over MessagePack.

    Args:
        link: sends messages.
    """

    def __init__(self, link: AgentLink) -> None:
        super().__init__(str(link.transport.getPeer()))
        self._link = link
        self._numbers = count()
        self._asked: dict[int, Deferred[object]] = {}
        self._answering = 0
        self._running: dict[str, Spelled] = {}
        self._place = Place("")
        self._directories: dict[str, str] = {}
        self._cleaned = False
        #: whether it is being shut down: then its commands fail because of that
        self._ending = False
        self._requests: dict[str, Callable[[dict[str, Any]], object]] = {
            "update": self._on_update,
            "complete": self._on_complete,
            "update_upload_file_write": lambda m: self._writer_of(m).write(m.get("args")),
            "update_upload_file_close": lambda m: self._end_of(m).close(),
            "update_upload_file_utime": lambda m: self._writer_of(m).utime((m["access_time"], m["modified_time"])),
            "update_upload_directory_write": lambda m: self._writer_of(m).write(m.get("args")),
            "update_upload_directory_unpack": lambda m: self._writer_of(m).unpack(),
            "update_read_file": lambda m: self._reader_of(m).read(m["length"]),
            "update_read_file_close": lambda m: self._end_of(m).close(),
        }

    async def get_info(self) -> dict[str, Any]:
        told = await self._ask("get_worker_info")
        self.keep_info(told)
        basedir = self.info.get("basedir")
        if not isinstance(basedir, str) or not basedir:
            raise RemoteError("it does not tell where its directory is")
        home = self.environ.get("HOME") or self.environ.get("USERPROFILE")
        self._place = Place(basedir, "", str(self.info.get("system")), home)
        await self._ask("set_worker_settings", args=SETTINGS)
        return self.info

    async def set_builders(self, directories: Sequence[tuple[str, str]]) -> None:
        self._directories = dict(directories)
        wanted = sorted(set(self._directories.values()))
        if wanted:
            await self._run("mkdir", {"dir": wanted})
        if not self._cleaned and self.info.get("delete_leftover_dirs"):
            self._cleaned = True  # only after the login, as over PB; later the agent would have to be idle
            in_background(self._remove_leftovers(), f"left over directories of the worker from {self.peer}")

    async def say(self, text: str) -> None:
        await self._ask("print", message=text)

    async def ping(self) -> None:
        await self._ask("keepalive")

    async def start_command(self, builder: str, command_id: str, name: str, args: dict[str, Any]) -> None:
        if builder not in self._directories:
            raise RemoteError(f"the worker does not know builder {builder!r}")
        place = self._place
        place = Place(place.basedir, self._directories[builder], place.system, place.home)
        await self._start(builder, command_id, spelled(name, args, place))

    async def interrupt_command(self, builder: str, command_id: str, why: str) -> None:
        if command_id in self._running:
            await self._ask("interrupt_command", builder_name=builder, command_id=command_id, why=why)

    async def shutdown(self) -> None:
        self._ending = True
        for command_id in list(self._running):
            await self.interrupt_command("", command_id, "the worker is shut down")
        await self._ask("shutdown")

    def read(self, on: bool) -> None:
        self._link.read(on)

    def close(self) -> None:
        self._link.transport.abortConnection()

    def complete(self, command_id: str, failure: str | None) -> None:
        self._running.pop(command_id, None)
        super().complete(command_id, failure)

    def unregister(self, command_id: str) -> None:
        self._running.pop(command_id, None)
        super().unregister(command_id)

    def closed(self, reason: str) -> None:
        super().closed(reason)
        asked, self._asked = self._asked, {}
        for each in asked.values():
            each.errback(WorkerLostError(reason))

    # requests to the agent

    async def _ask(self, op: str, **keys: object) -> object:
        """Send a request; gives its answer."""
        if self.lost:
            raise WorkerLostError("the connection to the worker was lost")
        number = next(self._numbers)
        try:
            message: bytes = msgpack.packb({"op": op, "seq_number": number, **keys})
        except (TypeError, ValueError, OverflowError, UnicodeEncodeError) as problem:
            raise RemoteError(f"{op} cannot be sent: {problem}") from None

        def forget(_: Deferred[object]) -> None:
            self._asked.pop(number, None)

        answer: Deferred[object] = Deferred(forget)
        self._asked[number] = answer
        self._link.send(message)
        return await answer

    async def _start(self, builder: str, command_id: str, command: Spelled) -> None:
        self._running[command_id] = command  # before it is sent: a short command ends before its start is answered
        try:
            await self._ask(
                "start_command",
                builder_name=builder,
                command_id=command_id,
                command_name=command.name,
                args=command.args,
            )
        except RemoteError:
            self._running.pop(command_id, None)
            raise

    async def _run(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        """Run a command in the agent's own directory; gives its last updates by key. RemoteError if it failed."""
        receiver = _Collected()
        command_id = self.register(receiver)
        try:
            await self._start("", command_id, spelled(name, args, self._place))
            await receiver.end
        finally:
            self.unregister(command_id)
        if receiver.news.get("rc") != 0:
            said = receiver.news.get("stderr") or receiver.news.get("header") or ""
            raise RemoteError(f"{name} failed with {receiver.news.get('rc')!r}: {said!r:.200}")
        return receiver.news

    async def _remove_leftovers(self) -> None:
        """Remove the directories of no builder, if the agent is configured so."""
        for name in (await self._run("listdir", {"dir": ""})).get("files", ()):
            status = (await self._run("stat", {"file": name})).get("stat") or [0]
            if stat.S_ISDIR(status[0]) and not self._is_used(name):
                _log.info("worker from {peer}: {name} is left over and removed", peer=self.peer, name=name)
                await self._run("rmdir", {"dir": name})

    def _is_used(self, name: str) -> bool:
        tops = {each.replace("\\", "/").partition("/")[0] for each in self._directories.values()}
        return name == _AGENTS_OWN or name in tops

    # messages of the agent

    def received(self, message: bytes) -> None:
        """A whole message."""
        try:
            said = msgpack.unpackb(
                message, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS, max_ext_len=0, strict_map_key=True
            )
        except Exception as problem:
            self._link.drop(f"it does not speak MessagePack ({type(problem).__name__}: {problem})")
            return
        if not isinstance(said, dict) or type(said.get("seq_number")) is not int:
            self._link.drop(f"it sent a message without a number: {said!r:.100}")
        elif said.get("op") == "response":
            self._on_response(said)
        elif self._answering >= MAX_WAITING:
            self._link.drop("it sends more and more requests and does not wait for the answers")
        else:
            self._answering += 1
            in_background(self._answer(said), f"answer to the worker from {self.peer}")

    def _on_response(self, said: dict[str, Any]) -> None:
        asked = self._asked.pop(said["seq_number"], None)
        if asked is None:
            return  # the request does not wait for its answer any more
        if said.get("is_exception"):
            asked.errback(RemoteError(_error_in(said.get("result"))))
        else:
            asked.callback(said.get("result"))

    async def _answer(self, said: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"op": "response", "seq_number": said["seq_number"]}
        try:
            op = str(said.get("op"))
            work = self._requests.get(op)
            if self._ending and op in ("update", "complete"):
                work = _nothing
            if work is None:
                raise RemoteError(f"the master has no {said.get('op')!r:.100}")
            answer["result"] = await resolved(work(said))
        except Exception as problem:
            answer.update(is_exception=True, result=f"{type(problem).__name__}: {problem}")
        finally:
            self._answering -= 1
        try:
            self._link.send(msgpack.packb(answer))
        except (TypeError, ValueError, OverflowError) as problem:
            text = f"the master's answer cannot be sent: {problem}"
            self._link.send(msgpack.packb({**answer, "is_exception": True, "result": text}))

    def _end_of(self, said: dict[str, Any]) -> Writer | Reader:
        """The master's end of the transfer that a message is about."""
        command = self._running.get(_id(said))
        if command is None or command.transfer is None:
            raise RemoteError("no transfer of this id is running")
        return command.transfer

    def _writer_of(self, said: dict[str, Any]) -> Writer:
        end = self._end_of(said)
        if not hasattr(end, "write"):  # not by its class: a plugin may have one of its own
            raise RemoteError("the transfer of this id takes nothing")
        return cast("Writer", end)

    def _reader_of(self, said: dict[str, Any]) -> Reader:
        end = self._end_of(said)
        if not hasattr(end, "read"):
            raise RemoteError("the transfer of this id gives nothing")
        return cast("Reader", end)

    def _on_update(self, said: dict[str, Any]) -> None:
        command_id, pairs = _id(said), said.get("args")
        try:
            news = [(key, _value(key, value)) for key, value in pairs]  # type: ignore[union-attr]
        except (TypeError, ValueError, IndexError, KeyError):
            self.misreported(command_id, f"the worker sent an update that is none: {pairs!r:.100}")
            return
        command = self._running.get(command_id)
        for key, value in news:
            if key == "header" and command is not None and isinstance(value, str):
                value = command.shown(value)
            self.update(command_id, key, value)

    def _on_complete(self, said: dict[str, Any]) -> None:
        failure = said.get("args")
        self.complete(_id(said), None if failure is None else _error_in(failure))


class _Collected:
    """Collects the updates of a command of the connection's own."""

    def __init__(self) -> None:
        self.news: dict[str, Any] = {}
        self.end: Deferred[None] = Deferred()

    def update(self, key: str, value: object) -> None:
        self.news[key] = value

    def misreported(self, problem: str) -> None:
        self._ended(RemoteError(problem))

    def complete(self, failure: str | None) -> None:
        self._ended(None if failure is None else RemoteError(failure))

    def connection_lost(self, reason: str) -> None:
        self._ended(WorkerLostError(reason))

    def _ended(self, problem: Exception | None) -> None:
        if self.end.called:
            return
        if problem is None:
            self.end.callback(None)
        else:
            self.end.errback(problem)


def _nothing(said: dict[str, Any]) -> None:
    """Drop updates that do not count any more."""


def _id(said: dict[str, Any]) -> str:
    return str(said.get("command_id"))


def _value(key: object, value: Any) -> object:
    """A value of an update in PB's form: text without the positions and times of its lines."""
    if key in ("stdout", "stderr", "header"):
        return value[0] if isinstance(value, list) else value
    if key == "log":
        name, lines = value
        return name, lines[0] if isinstance(lines, list) else lines
    return value


def _error_in(text: object) -> str:
    """The error in an agent's text: in a traceback, or in a failure that Twisted printed."""
    lines = str(text).strip().splitlines() or ["unknown error"]
    line = lines[0] if lines[0].startswith(_FAILURE) else lines[-1]
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", line.removeprefix(_FAILURE)).strip()[:1000]


__all__ = ["MessagePackConnection", "make_factory"]
