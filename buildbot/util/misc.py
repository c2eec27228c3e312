"""A decorator for functions that must not run twice at the same time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from twisted.internet.defer import Deferred, DeferredLock

P = ParamSpec("P")


def deferredLocked(lock: DeferredLock | str) -> Callable[[Callable[P, Any]], Callable[P, Deferred[Any]]]:
    """A decorator: the function waits for a lock first, and has it until its Deferred fires.

    Args:
        lock: the lock, or the name of the attribute of the method's object that holds it.
    """

    def decorate(function: Callable[P, Any]) -> Callable[P, Deferred[Any]]:
        @wraps(function)
        def locked(*args: P.args, **kwargs: P.kwargs) -> Deferred[Any]:
            found = getattr(args[0], lock) if isinstance(lock, str) else lock
            return found.run(function, *args, **kwargs)

        return locked

    return decorate
