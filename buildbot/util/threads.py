"""Blocking work in threads of its own, which take none of the database's threads and do not delay the exit."""

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
    """Calls functions in threads, one after the other, for libraries that must not run twice at the same time.

    If the Deferred of a call is cancelled the function goes on, and the next one begins after it.
    """

    def __init__(self) -> None:
        self._turn = DeferredLock()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in a thread when the earlier ones have ended; gives its result."""
        await self._turn.acquire()
        answer: Deferred[Any] = Deferred(lambda _: None)

        def ended(result: Any) -> None:
            self._turn.release()
            if not answer.called:
                answer.callback(result)

        in_own_thread(function, *args).addBoth(ended)
        return await answer
