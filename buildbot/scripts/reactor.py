"""Work of a command that needs a reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure


def run(work: Callable[[], Any]) -> None:
    """Run a coroutine to its end on the reactor of this process, which has no other use; what it raises is raised."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    outcome: list[Any] = []

    def begin() -> None:
        deferred: Deferred[None] = ensureDeferred(work())
        deferred.addBoth(finish)

    def finish(result: Any) -> None:
        outcome.append(result)
        reactor.stop()

    reactor.callWhenRunning(begin)
    reactor.run()
    if not outcome:
        raise click.ClickException("interrupted")
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
