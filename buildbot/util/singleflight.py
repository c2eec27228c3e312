"""An answer for several callers, read once and remembered for a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Calls a function, never twice at the same time: while it does not answer, calls do not pile up.

    Args:
        ask: gives the answer.
        reactor: for time, which must be monotonic: if it were set back, an answer would not expire.
        keep_s: seconds for which an answer is used.
        wait_s: seconds to wait for an answer.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], reactor: IReactorTime, keep_s: float, wait_s: float) -> None:
        self._ask = ask
        self._reactor = reactor
        self._keep_s = keep_s
        self._wait_s = wait_s
        self._answer: tuple[float, T] | None = None
        self._asking = False
        self._waiting: list[Deferred[T]] = []

    async def get(self) -> T:
        """The answer.

        Raises:
            TimeoutError: Twisted's; there is no answer yet.
        """
        if self._answer is not None and self._reactor.seconds() < self._answer[0] + self._keep_s:
            return self._answer[1]
        waiter: Deferred[T] = Deferred()
        self._waiting.append(waiter)
        waiter.addTimeout(self._wait_s, self._reactor)
        if not self._asking:
            self._asking = True
            ensureDeferred(self._ask()).addBoth(self._answered)  # type: ignore[arg-type]
        return await waiter

    def _answered(self, result: T | Failure) -> None:
        self._asking = False
        waiting, self._waiting = self._waiting, []
        if not isinstance(result, Failure):
            self._answer = self._reactor.seconds(), result
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(result)


__all__ = ["SingleFlight", "TimeoutError"]
