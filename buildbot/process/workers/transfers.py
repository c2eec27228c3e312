"""The master's ends of file transfers: writers, to which agents send, and readers, from which they read.

A step puts one of these into the arguments of its command (``writer``, ``reader``); the adapter of each protocol calls
it for the agent's messages. Agent 4.3 has a defect: after an error of the master it does not end the command. So no
method here raises: the first problem is kept in `Endpoint.problem`, later messages are dropped, and the command is
interrupted.

The agent is not trusted: it may send more than expected, in any order, after the end, or nothing at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from math import isfinite
from typing import ParamSpec, TypeVar

from twisted.logger import Logger

from buildbot.util.deferreds import deferred, resolved

_log = Logger()

P = ParamSpec("P")
T = TypeVar("T")

#: bytes of one block: what an agent takes over PB in one piece
MAX_BLOCK_BYTES = 640 * 1024


class Endpoint:
    """Base of writers and readers.

    Attributes:
        problem: the first error, of the master or in the agent's messages; None if there was none.
        ended: whether the agent has ended the transfer.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self.ended = False
        self._over = False
        self._on_problem: list[Callable[[str], object]] = []

    def on_problem(self, callback: Callable[[str], object]) -> None:
        """Call ``callback(problem)`` with the first problem."""
        self._on_problem.append(callback)

    def fail(self, problem: str) -> None:
        """Set the problem: nothing more is taken or given."""
        if self.problem is None:
            self.problem = problem
            self._over = True
            for callback in self._on_problem:
                callback(problem)

    def stop(self) -> None:
        """The command has ended: further messages are ignored."""
        self._over = True

    async def _guarded(self, work: Callable[P, Awaitable[T] | T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The result of ``work``, unless the transfer is over; its error becomes the problem."""
        if self._over:
            return None
        try:
            return await resolved(work(*args, **kwargs))
        except Exception as problem:
            if not isinstance(problem, (OSError, ValueError)):
                _log.failure("a file transfer failed")
            self.fail(_message_of(problem))
            return None


class Writer(Endpoint, ABC):
    """Takes a file, or an archive, from an agent.

    Args:
        max_bytes: the largest size; None: no limit.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        super().__init__()
        self.max_bytes = max_bytes
        self.bytes = 0
        self.times: tuple[float, float] | None = None

    @deferred
    async def write(self, data: object) -> None:
        """The agent sends the next block."""
        await self._guarded(self.__take, data)

    def __take(self, data: object) -> object:
        if not isinstance(data, bytes):
            raise ValueError(f"the worker sent {type(data).__name__} as a part of the file, not bytes")
        if self.ended:
            raise ValueError("the worker sent more after the end of the file")
        self.bytes += len(data)
        if self.max_bytes is not None and self.bytes > self.max_bytes:
            raise ValueError(f"the worker sent more than {self.max_bytes} bytes")
        return self._take(data)

    @deferred
    async def close(self) -> None:
        """The agent has sent all."""
        await self._guarded(self.__end)

    @deferred
    async def unpack(self) -> None:
        """The agent has sent all of an archive."""
        await self._guarded(self.__end)

    def __end(self) -> None:
        self.ended = True

    @deferred
    async def utime(self, times: object) -> None:
        """The agent sends the times of the last access and change of its file, as Unix times."""
        await self._guarded(self.__keep_times, times)

    def __keep_times(self, times: object) -> None:
        if (
            not isinstance(times, (tuple, list))
            or len(times) != 2
            or not all(type(each) in (int, float) and isfinite(each) and abs(each) < 1e11 for each in times)
        ):
            raise ValueError(f"the worker sent {times!r:.100} as the times of the file")
        self.times = times[0], times[1]

    @abstractmethod
    def _take(self, data: bytes) -> object:
        """Keep a block; its error becomes the problem."""


class Reader(Endpoint, ABC):
    """Gives a file to an agent."""

    @deferred
    async def read(self, size: object) -> bytes:
        """The next block, of at most ``size`` bytes; empty at the end."""
        data = await self._guarded(self.__give, size)
        return data or b""

    def __give(self, size: object) -> Awaitable[bytes] | bytes:
        if type(size) is not int or size <= 0:
            raise ValueError(f"the worker asked for {size!r:.100} bytes")
        return self._give(min(size, MAX_BLOCK_BYTES))

    @deferred
    async def close(self) -> None:
        """The agent needs no more."""
        self.ended = True

    @abstractmethod
    def _give(self, size: int) -> Awaitable[bytes] | bytes:
        """The next block; its error becomes the problem."""


class MemoryWriter(Writer):
    """Takes a file into memory.

    Args:
        max_bytes: the largest size.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self.__parts: list[bytes] = []

    @property
    def content(self) -> bytes:
        """The bytes so far."""
        return b"".join(self.__parts)

    def _take(self, data: bytes) -> None:
        self.__parts.append(data)


class MemoryReader(Reader):
    """Gives bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.__content, self.__at = content, 0

    def _give(self, size: int) -> bytes:
        data = self.__content[self.__at : self.__at + size]
        self.__at += len(data)
        return data


def _message_of(problem: Exception) -> str:
    """An error in words; of an error of the file system without its class."""
    if isinstance(problem, OSError):
        return f"{problem.strerror or type(problem).__name__}{f': {problem.filename}' if problem.filename else ''}"
    return str(problem) if isinstance(problem, ValueError) else f"{type(problem).__name__}: {problem}"
