"""A logged-in agent, of any protocol.

The core (manager, builds, remote commands) uses only this class. A protocol has an adapter: a subclass of `Connection`
whose methods send, and which gives arriving messages to `Connection.update`, `complete` and `closed`. Command names and
arguments are in PB's spelling, paths relative to the builder's directory; an adapter of another protocol translates
them.

A command is registered before its start is sent, because a short one reports its end before the start is answered.
`complete` ends a command; updates come before it, in order. When the connection is lost nothing more arrives: every
registered command is told so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from sys import intern
from typing import Any, Protocol

from twisted.logger import Logger

_log = Logger()

#: the largest size of a worker's information, in characters
_INFO_CHARS = 256 * 1024


#: the largest size of a worker's environment, in characters
MAX_ENVIRON_CHARS = 256 * 1024


class WorkerLostError(Exception):
    """The connection to the worker was lost."""


class DuplicateWorkerError(Exception):
    """A worker of this name is connected already."""


class RemoteError(Exception):
    """The worker refused a request, or could not do it."""


class CommandReceiver(Protocol):
    """The receiver of reports about a command."""

    def update(self, key: str, value: object) -> None:
        """Take an update."""

    def misreported(self, problem: str) -> None:
        """The worker sent a malformed update."""

    def complete(self, failure: str | None) -> None:
        """The command has ended; ``failure``: an error of the agent itself."""

    def connection_lost(self, reason: str) -> None:
        """The connection is lost; nothing more comes."""


class Connection(ABC):
    """One logged-in agent.

    Args:
        peer: its address, for messages.

    Attributes:
        info: what the worker told about itself, without its environment.
        environ: its environment, which may hold secrets: it is neither stored nor shown.
        lost: whether the link is gone.
        lost_because: why it is; empty before.
        held_back: whether nothing is read from the worker, because its output cannot be stored fast enough.
    """

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.info: dict[str, Any] = {}
        self.environ: Mapping[str, str] = {}
        self.lost = False
        self.lost_because = ""
        self._holders = 0
        self._commands: dict[str, CommandReceiver] = {}
        self._ids = count(1)
        self._on_lost: list[Callable[[str], object]] = []

    def keep_info(self, told: object) -> None:
        """Keep the worker's information; its environment separately, if it is a dictionary and not too long.

        Raises:
            RemoteError: it is no dictionary, or too long.
        """
        if not isinstance(told, dict):
            raise RemoteError(f"its information is not a dictionary but {told!r:.100}")
        info = {key: value for key, value in told.items() if key != "environ"}
        size = len(repr(info))
        if size > _INFO_CHARS:
            raise RemoteError(f"its information is longer than {_INFO_CHARS} characters ({size})")
        self.info = {_shared(key): _shared(value) for key, value in info.items()}
        self.environ = _kept_environ(told.get("environ"))

    def register(self, receiver: CommandReceiver) -> str:
        """The id of a command about to be started."""
        if self.lost:
            raise WorkerLostError("the worker is not connected any more")
        command_id = str(next(self._ids))
        self._commands[command_id] = receiver
        return command_id

    def unregister(self, command_id: str) -> None:
        """Forget a command that has ended or never started."""
        self._commands.pop(command_id, None)

    def on_lost(self, callback: Callable[[str], object]) -> Callable[[], None]:
        """Call ``callback(reason)`` once when the link is lost; at once if it is lost already.

        Returns:
            A function that takes that back; it does nothing once the link is lost.
        """
        if self.lost:
            callback(self.lost_because)
        else:
            self._on_lost.append(callback)
        return lambda: self._on_lost.remove(callback) if callback in self._on_lost else None

    @property
    def held_back(self) -> bool:
        """Whether nothing is read from the worker now."""
        return self._holders > 0

    def hold_back(self, hold: bool) -> None:
        """Read nothing more from the worker (True). It goes on when each True was taken back by a False."""
        before = self.held_back
        self._holders += 1 if hold else -1
        if self.held_back != before and not self.lost:
            self.read(not self.held_back)

    def update(self, command_id: str, key: str, value: object) -> None:
        """An adapter reports an update of a command; it is dropped if the command is not registered any more."""
        receiver = self._commands.get(command_id)
        if receiver is not None:
            receiver.update(key, value)

    def misreported(self, command_id: str, problem: str) -> None:
        """An adapter got a malformed update of a command."""
        receiver = self._commands.get(command_id)
        if receiver is not None:
            receiver.misreported(problem)

    def complete(self, command_id: str, failure: str | None) -> None:
        """An adapter reports the end of a command."""
        receiver = self._commands.pop(command_id, None)
        if receiver is not None:
            receiver.complete(failure)

    def closed(self, reason: str) -> None:
        """An adapter reports that the connection is lost; only the first report counts."""
        if self.lost:
            return
        self.lost, self.lost_because = True, reason
        commands, self._commands = self._commands, {}
        callbacks, self._on_lost = self._on_lost, []
        for callback in callbacks:  # first, so that the worker no longer counts as connected
            try:
                callback(reason)
            except Exception:
                _log.failure("after the loss of a worker")
        for receiver in commands.values():
            receiver.connection_lost(reason)

    @abstractmethod
    async def get_info(self) -> dict[str, Any]:
        """Ask the worker for its information; the answer has no ``environ``.

        Raises:
            RemoteError: it is too old, or its answer is malformed.
            WorkerLostError: the connection was lost.
        """

    @abstractmethod
    async def set_builders(self, directories: Sequence[tuple[str, str]]) -> None:
        """Tell the worker its builders as ``(name, directory)``, all of them each time."""

    @abstractmethod
    async def say(self, text: str) -> None:
        """Write a line in the agent's log; `buildbot-worker start` waits for ``attached``."""

    @abstractmethod
    async def ping(self) -> None:
        """Return when the worker has answered; `WorkerLostError` if the connection is lost before."""

    @abstractmethod
    async def start_command(self, builder: str, command_id: str, name: str, args: dict[str, Any]) -> None:
        """Start a command. `RemoteError`: it was refused; then neither updates nor an end will come."""

    @abstractmethod
    async def interrupt_command(self, builder: str, command_id: str, why: str) -> None:
        """Ask the worker to stop a command, which then completes."""

    @abstractmethod
    async def shutdown(self) -> None:
        """Ask the agent to end itself; the connection is lost soon after."""

    @abstractmethod
    def read(self, on: bool) -> None:
        """Stop reading from the worker, or go on."""

    @abstractmethod
    def close(self) -> None:
        """Drop the connection now."""


def _kept_environ(environ: object) -> dict[str, str]:
    left = MAX_ENVIRON_CHARS
    kept = {}
    for name, value in environ.items() if isinstance(environ, Mapping) else ():
        if isinstance(name, str) and isinstance(value, str):
            left -= len(name) + len(value)
            if left < 0:
                break
            kept[_shared(name)] = _shared(value)
    return kept


def _shared(value: Any) -> Any:
    """A text that other workers may have told too, as the one object of all of them; other values as they are."""
    return intern(value) if type(value) is str else value
