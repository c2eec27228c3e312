"""Work of users' code, watched: it may block the master, wait for something that never comes, or not be stopped.

`Watched` runs a coroutine. It logs how long the coroutine blocked the master, and it finds out that the coroutine waits
for a Deferred that nothing refers to any more: then the coroutine is garbage, and Python closes it when it collects
garbage. `Watched.ended` fails, and the build goes on.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from types import coroutine
from typing import Any, Generic, TypeVar
from weakref import ReferenceType, ref

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()
_now: Callable[[], float] = time.monotonic

T = TypeVar("T")

#: seconds that the master may stand still for one piece of work before the log names it
BLOCKED_S = 1.0
#: seconds of work after which it is seen whether it still can end; then twice as many, and so on
LOOK_S = 300.0


class NeverEndsError(Exception):
    """The work waits for something that nothing can bring about any more."""


class Watched(Generic[T]):
    """A coroutine that runs, watched.

    Args:
        work: the coroutine.
        name: whose it is, for messages.
        reactor: for time, and to get back to its thread.
        may_wait: tells that it waits for something that will come; it is not looked at then.

    Attributes:
        ended: fires with what it gives, or fails as it fails; with NeverEndsError if it cannot end any more.
    """

    def __init__(
        self, work: Coroutine[Deferred[Any], Any, T], name: str, reactor: Any, may_wait: Callable[[], bool]
    ) -> None:
        self.ended: Deferred[T] = Deferred()
        self._name, self._reactor, self._may_wait = name, reactor, may_wait
        self._look_s = LOOK_S
        self._timer = reactor.callLater(self._look_s, self._look)
        # No reference to the coroutine may be kept here: it is found lost when it has become garbage.
        running = ensureDeferred(_watching(work, name, self.lost))
        self._running: ReferenceType[Deferred[T]] = ref(running)
        running.addBoth(self.end)

    def end(self, result: Any) -> None:
        """It has ended with this result, or is to be taken so; only the first one counts."""
        if not self.ended.called:
            if self._timer.active():
                self._timer.cancel()
            self.ended.callback(result)

    def cancel(self) -> None:
        """End what it waits for, as far as that is possible."""
        running = self._running()
        if running is not None:
            running.cancel()

    def lost(self) -> None:
        """It cannot end any more; called in any thread, while garbage is collected."""
        self._reactor.callFromThread(_end_lost, ref(self))  # this may be garbage itself, and has to stay that

    def _look(self) -> None:
        self._look_s *= 2
        self._timer = self._reactor.callLater(self._look_s, self._look)
        if not self._may_wait():
            gc.collect()


@contextmanager
def blocks_named(name: str) -> Iterator[None]:
    """Name in the log what is done in the block, if the master stood still for it."""
    begun = _now()
    try:
        yield
    finally:
        _tell_of_block(name, begun)


def _tell_of_block(name: str, begun: float) -> None:
    took = _now() - begun
    if took >= BLOCKED_S:
        _log.warn(
            "{name} blocked the master for {took:.1f} s: nothing else ran meanwhile; long work belongs in a thread "
            "(twisted.internet.threads.deferToThread)",
            name=name,
            took=took,
        )


def class_name(kind: type) -> str:
    """A class with its module, as messages name it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _end_lost(watched: ReferenceType[Watched[Any]]) -> None:
    whose = watched()
    if whose is not None:
        name = whose._name
        whose.end(Failure(NeverEndsError(f"{name} waits for a Deferred that nothing can fire any more")))


@coroutine
def _watching(
    work: Coroutine[Deferred[Any], Any, T], name: str, lost: Callable[[], None]
) -> Generator[Deferred[Any], Any, T]:
    """Run a coroutine piece by piece, from one wait to the next, and time each piece."""
    value: Any = None
    problem: BaseException | None = None
    while True:
        begun = _now()
        try:
            waiting = work.send(value) if problem is None else work.throw(problem)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            _tell_of_block(name, begun)
        value, problem = None, None
        try:
            value = yield waiting
        except GeneratorExit:
            lost()
            work.close()
            raise
        except BaseException as raised:
            problem = raised
