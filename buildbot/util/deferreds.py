"""The one place where coroutines become Deferreds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred

P = ParamSpec("P")
T = TypeVar("T")


def deferred(function: Callable[P, Coroutine[Deferred[Any], Any, T]]) -> Callable[P, Deferred[T]]:
    """Make an ``async def`` a function that returns a Deferred, as the documented APIs promise.

    The body starts to run at the call, so that calls take effect in the order in which they were made.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return ensureDeferred(function(*args, **kwargs))

    return call
