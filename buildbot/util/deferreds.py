"""Coroutines and Deferreds: conversion of one into the other, and values that may be either."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, overload

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

P = ParamSpec("P")
T = TypeVar("T")


@overload
async def resolved(value: Awaitable[T]) -> T: ...
@overload
async def resolved(value: Awaitable[T] | T) -> T: ...
async def resolved(value: Any) -> Any:
    """``value``, awaited if it is a Deferred or a coroutine: users' functions may give either."""
    return await value if is_awaitable(value) else value


def is_awaitable(value: object) -> bool:
    """Whether a value is a Deferred, a coroutine or another object with ``__await__``."""
    return hasattr(type(value), "__await__")


async def side_by_side(work: Iterable[Coroutine[Deferred[Any], Any, object]]) -> None:
    """Run coroutines concurrently; returns when all have ended. If some fail, the first one's error is raised then."""
    ends = await DeferredList([ensureDeferred(each) for each in work], consumeErrors=True)
    for _, result in ends:
        if isinstance(result, Failure):
            result.raiseException()


class Waiters:
    """Coroutines that wait for the same moment: ``await waiters.wait()``, until `release` is called."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """Fires at the next `release`, or fails at the next `fail`."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def release(self) -> None:
        """Let all that wait now continue."""
        for each in self._taken():
            each.callback(None)

    def fail(self, problem: Exception | Failure) -> None:
        """Raise an error in all that wait now."""
        for each in self._taken():
            each.errback(problem)

    def _taken(self) -> list[Deferred[None]]:
        waiting, self._waiting = self._waiting, []
        return waiting


def deferred(function: Callable[P, Coroutine[Deferred[Any], Any, T]]) -> Callable[P, Deferred[T]]:
    """Make an ``async def`` a function that returns a Deferred, as the documented APIs promise.

    The body starts to run at the call, so that calls take effect in their order.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return ensureDeferred(function(*args, **kwargs))

    return call


def asyncSleep(delay: float, reactor: IReactorTime | None = None) -> Deferred[None]:
    """A Deferred that fires after ``delay`` seconds, by the reactor that runs or by another one."""
    if reactor is None:
        from twisted.internet import reactor as running

        reactor = running
    return deferLater(reactor, delay, lambda: None)
