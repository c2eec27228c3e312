"""Coroutines of commands, run on a reactor."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

T = TypeVar("T")


def run(work: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> T:
    """The result of a coroutine, which runs to its end on the reactor of this process; that runs only once.

    Raises:
        click.ClickException: the reactor was stopped before; and every error of the coroutine.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    outcome: list[T | Failure] = []

    def begin() -> None:
        ensureDeferred(work()).addBoth(finish)

    def finish(result: T | Failure) -> None:
        outcome.append(result)
        reactor.stop()

    reactor.callWhenRunning(begin)
    reactor.run()
    if not outcome:
        raise click.ClickException("interrupted")
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
