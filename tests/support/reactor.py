"""Run a coroutine to its end on Twisted's reactor, from synchronous test code."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from buildbot.util.clock import use_monotonic_time

T = TypeVar("T")
reactor: Any = _reactor
use_monotonic_time(reactor)


def fired(deferred: Deferred[Any]) -> bool:
    """Whether a Deferred has a result. It is a function because a type checker assumes that an attribute keeps its
    value.
    """
    return bool(deferred.called)


def run(work: Coroutine[Any, Any, T] | Deferred[T], timeout_s: float = 100.0) -> T:
    """The result of ``work``; its exception is raised here. ``timeout_s`` ends work that hangs."""
    outcome: list[Any] = []
    deferred: Deferred[Any] = work if isinstance(work, Deferred) else ensureDeferred(work)
    timer = reactor.callLater(timeout_s, deferred.cancel)

    def finished(result: Any) -> None:
        outcome.append(result)
        if timer.active():
            timer.cancel()
        if reactor.running:
            reactor.crash()

    deferred.addBoth(finished)
    if not outcome:
        reactor.run()  # with its signal handlers, which reap child processes
    result = outcome[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result  # type: ignore[no-any-return]
