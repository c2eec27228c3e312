"""Calls of a step's methods that it need not await."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from buildbot.db.exceptions import NotClaimedError

T = TypeVar("T")


class _Call(Deferred[T]):
    """The result of a call; it knows whether the step waits for it.

    Args:
        by_callbacks: whether a step that adds a callback to it, as ``gatherResults`` does, waits for it, too.
    """

    awaited = False

    def __init__(self, by_callbacks: bool) -> None:
        super().__init__()
        self._by_callbacks = by_callbacks
        #: fires when the work is done, which goes on even if the step waits no longer
        self.over: Deferred[None] = Deferred()

    @property
    def is_done(self) -> bool:
        """Whether it has succeeded."""
        return self.called and not isinstance(self.result, Failure)

    def __await__(self) -> Generator[Deferred[T], None, T]:
        self.awaited = True
        return super().__await__()

    def addCallbacks(self, *args: Any, **kwargs: Any) -> Any:
        """As `Deferred.addCallbacks`, which all methods that add callbacks call."""
        self.awaited = self.awaited or self._by_callbacks
        return super().addCallbacks(*args, **kwargs)


class Calls:
    """The calls that a step has made of methods such as ``addLog`` and ``addURL``.

    A step may make them without ``await``: the work belongs to the step, which does not end before the work is done. An
    unhandled failure is a failure of the step.
    """

    def __init__(self) -> None:
        self._calls: list[_Call[Any]] = []

    def begin(self, work: Coroutine[Deferred[Any], Any, T], by_callbacks: bool = False) -> Deferred[T]:
        """Begin the work of a call; fires with its result.

        Args:
            by_callbacks: whether a failure is the step's own business if it has added callbacks.
        """
        call: _Call[T] = _Call(by_callbacks)
        self._calls[:] = [*(each for each in self._calls if not each.is_done), call]
        ensureDeferred(work).addCallbacks(call.callback, call.errback).addBoth(call.over.callback)
        return call

    def __bool__(self) -> bool:
        """Whether there is a call that `finish` has not waited for."""
        return bool(self._calls)

    async def finish(self) -> None:
        """Wait for all calls. Raises the first failure of a call that the step did not wait for itself."""
        problems: list[Failure] = []
        while self._calls:
            call = self._calls.pop(0)
            if not call.awaited:
                call.addErrback(problems.append)
            await call.over
        if problems:
            problems[0].raiseException()


async def failure_of(work: Awaitable[object]) -> Failure | None:
    """The failure of ``work``; None if it succeeds. NotClaimedError is raised, as nothing more may be written then."""
    try:
        await work
    except NotClaimedError:
        raise
    except Exception:
        return Failure()
    return None
