"""Users' code in steps, watched: it may block the master, or wait for something that never comes.

`Watched` runs a coroutine. It logs how long the coroutine blocked the master. It also finds out that the coroutine
waits for a Deferred that nothing refers to any more: then the coroutine is garbage, and Python closes it when it
collects garbage. `Watched.ended` fails, and the build goes on. Python may collect it soon, or in hours; so there is a
look, which is a collection, after `LOOK_S`, and then each time when the coroutine has run twice as long
(``docs/decisions/0012-lost-waits.md``).

A function made by Twisted's ``inlineCallbacks`` goes on by itself after its first ``yield``, out of sight. `called`
runs its generator inside the coroutine instead, so that all of it is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from types import GeneratorType, coroutine
from typing import Any, Generic, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, ref

from twisted.internet import defer
from twisted.internet.defer import Deferred, ensureDeferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.util import garbage
from buildbot.util.deferreds import resolved
from buildbot.util.reactor import IReactor

_log = Logger()
_now: Callable[[], float] = time.monotonic

T = TypeVar("T")

#: seconds that the master may stand still for one piece of work before the log names it
BLOCKED_S = 1.0


@inlineCallbacks
def _inline() -> Generator[Deferred[Any], Any, None]:
    yield Deferred()


#: the code that all functions made by ``inlineCallbacks`` share
_INLINE = _inline.__code__
#: what Twisted's old ``returnValue`` raises
_Return: type[BaseException] = getattr(defer, "_DefGen_Return", StopIteration)
#: seconds after which there is a look whether work can still end; then after twice as many, and so on
LOOK_S = 300.0


class NeverEndsError(Exception):
    """The work waits for a Deferred that nothing can fire any more."""


class _Look:
    """The look at all watched work of a reactor: one garbage collection, whatever the number of coroutines.

    Every `LOOK_S` it is seen whether a look is due for one of them; if it is, there is one for all.
    """

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._running: set[Watched[Any]] = set()
        self._timer: IDelayedCall | None = None

    def add(self, watched: Watched[Any]) -> None:
        """Look at this work, too."""
        self._running.add(watched)
        if self._timer is None:
            self._timer = self._reactor.callLater(LOOK_S, self._look)

    def discard(self, watched: Watched[Any]) -> None:
        """Look at this work no more: it has ended."""
        self._running.discard(watched)
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._reactor.callLater(LOOK_S, self._look)
        now = self._reactor.seconds()
        if any(each.is_due(now) for each in self._running):
            for each in self._running:
                each.looked_at(now)
            garbage.collect()


_looks: WeakKeyDictionary[Any, _Look] = WeakKeyDictionary()


class Watched(Generic[T]):
    """A coroutine that runs, watched.

    Args:
        work: the coroutine.
        name: of the step that it belongs to, for messages.
        reactor: for time, and to get back to its thread.
        may_wait: whether it waits for something that will come; there is no look for it then.

    Attributes:
        ended: fires with the coroutine's result, or fails with its error; with NeverEndsError if it can end no more.
    """

    def __init__(
        self, work: Coroutine[Deferred[Any], Any, T], name: str, reactor: IReactor, may_wait: Callable[[], bool]
    ) -> None:
        self.ended: Deferred[T] = Deferred()
        self._name, self._reactor, self._may_wait = name, reactor, may_wait
        self._begun = reactor.seconds()
        self._due = self._begun + LOOK_S
        look = _looks.get(reactor)
        if look is None:
            look = _looks[reactor] = _Look(reactor)
        self._look = look
        look.add(self)
        # No reference to the coroutine may be kept here: it is found lost when it has become garbage.
        running = ensureDeferred(_watching(work, name, self.lost))
        self._running: ReferenceType[Deferred[T]] = ref(running)
        running.addBoth(self.end)

    def is_due(self, now: float) -> bool:
        """Whether there must be a look for it."""
        return bool(now >= self._due) and not self._may_wait()

    def looked_at(self, now: float) -> None:
        """There is a look now; the next one is due when it has run twice as long."""
        self._due = now + max(now - self._begun, LOOK_S)

    def end(self, result: T | Failure) -> None:
        """It has ended with this result, or is to be taken so; only the first one counts."""
        if not self.ended.called:
            self._look.discard(self)
            self.ended.callback(result)

    def cancel(self) -> None:
        """Cancel the Deferred that it waits for."""
        running = self._running()
        if running is not None:
            running.cancel()

    def lost(self) -> None:
        """It cannot end any more; called in any thread, while garbage is collected."""
        self._reactor.callFromThread(_end_lost, ref(self))  # this may be garbage itself, and has to stay that


async def called(method: Callable[[], object]) -> object:
    """The result of a method that may be a coroutine, give a Deferred, or be made by ``inlineCallbacks``."""
    function: Any = getattr(method, "__func__", None)
    if getattr(function, "__code__", None) is not _INLINE:
        return await resolved(method())
    work: object = function.__wrapped__(getattr(method, "__self__", None))
    return await _unwound(work) if isinstance(work, GeneratorType) else await resolved(method())


async def _unwound(work: Generator[object, object, object]) -> object:
    """Run a generator as ``inlineCallbacks`` does, in the coroutine that awaits this."""
    value: object = None
    problem: BaseException | None = None
    try:
        while True:
            try:
                waiting = work.send(value) if problem is None else work.throw(problem)
            except StopIteration as stop:
                return stop.value
            except _Return as returned:
                return returned.value  # type: ignore[attr-defined]
            value, problem = None, None
            try:
                value = await (_unwound(waiting) if isinstance(waiting, GeneratorType) else resolved(waiting))
            except GeneratorExit:
                raise
            except BaseException as raised:
                problem = raised
    finally:
        work.close()


@contextmanager
def blocks_named(name: str) -> Iterator[None]:
    """Log the name, if the block took so long that it blocked the master."""
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
    value: object = None
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
