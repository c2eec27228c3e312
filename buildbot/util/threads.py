"""Blocking work in threads of its own: they take no place from the database's, and nobody waits for them at exit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredLock
from twisted.python.failure import Failure

_real_reactor: Any = _reactor


def in_own_thread(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """Call a function in a new thread.

    Returns:
        Deferred with its result, in the reactor's thread. It cannot be cancelled: it fires when the function has ended.
    """
    result: Deferred[Any] = Deferred()

    def run() -> None:
        try:
            outcome: Any = function(*args)
        except BaseException:
            outcome = Failure()
        _real_reactor.callFromThread(result.callback, outcome)

    threading.Thread(target=run, name=getattr(function, "__name__", "work"), daemon=True).start()
    return result


class OneByOne:
    """Calls functions in threads, one after the other, as libraries want it that know one machine.

    What nobody waits for any more goes on all the same, and the next begins after it.
    """

    def __init__(self) -> None:
        self._turn = DeferredLock()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """The result of a function, called in a thread when those before it have ended."""
        await self._turn.acquire()
        answer: Deferred[Any] = Deferred(lambda _: None)

        def ended(result: Any) -> None:
            self._turn.release()
            if not answer.called:
                answer.callback(result)

        in_own_thread(function, *args).addBoth(ended)
        return await answer
