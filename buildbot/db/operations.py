"""Public methods of connectors: each runs a thread function in a transaction of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.db.dialects.base import SHORT_ROWS
from buildbot.db.pool import DBThreadPool

C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")


def writes(
    thd: Callable[Concatenate[C, Connection, P], T], forgets: str | None = None
) -> Callable[Concatenate[C, P], Deferred[T]]:
    """The method that runs a thread function in a transaction of its own.

    ``forgets``: the cache that it makes invalid. Events do the same, but another master's events may come first.
    """

    def method(self: Any, /, *args: Any, **kwargs: Any) -> Deferred[T]:
        written: Deferred[T] = self.db.pool.do(getattr(self, thd.__name__), *args, **kwargs)
        return written if forgets is None else written.addCallback(forget, self.db)

    def forget(result: T, db: Any) -> T:
        db.invalidate(forgets)
        return result

    _name_after(method, thd)
    return method


def reads(thd: Callable[Concatenate[C, Connection, P], T]) -> Callable[Concatenate[C, P], Deferred[T]]:
    """The method that runs a thread function of one SELECT; it waits for no writer."""
    return _asking(thd, DBThreadPool.read)


def reads_short(thd: Callable[Concatenate[C, Connection, P], T]) -> Callable[Concatenate[C, P], Deferred[T]]:
    """As ``reads``, for one SELECT of a row or a few; it may be run several times."""
    return _asking(thd, DBThreadPool.read_short)


def reads_list(thd: Callable[Concatenate[C, Connection, P], list[T]]) -> Callable[Concatenate[C, P], Deferred[list[T]]]:
    """As ``reads``, for lists that are mostly short: on the reactor's thread unless the last of the kind was long."""

    def method(self: Any, /, *args: Any, **kwargs: Any) -> Deferred[list[T]]:
        pool: DBThreadPool = self.db.pool
        kind = (thd.__qualname__, *kwargs)
        ask = pool.read if kind in pool.long_lists else pool.read_short
        return ask(getattr(self, thd.__name__), *args, **kwargs).addCallback(note, pool, kind)

    def note(found: list[T], pool: DBThreadPool, kind: tuple[str, ...]) -> list[T]:
        if len(found) > SHORT_ROWS:
            pool.long_lists.add(kind)
        else:
            pool.long_lists.discard(kind)
        return found

    _name_after(method, thd)
    return method


def snapshots(thd: Callable[Concatenate[C, Connection, P], T]) -> Callable[Concatenate[C, P], Deferred[T]]:
    """The method that runs a thread function of several SELECTs which see one moment."""
    return _asking(thd, DBThreadPool.snapshot)


def _asking(
    thd: Callable[Concatenate[C, Connection, P], T], ask: Callable[..., Deferred[T]]
) -> Callable[Concatenate[C, P], Deferred[T]]:
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Deferred[T]:
        return ask(self.db.pool, getattr(self, thd.__name__), *args, **kwargs)

    _name_after(method, thd)
    return method


def _name_after(method: Any, thd: Callable[..., Any]) -> None:
    name = thd.__name__.removeprefix("thd")
    method.__name__ = name[0].lower() + name[1:]
    method.__qualname__ = thd.__qualname__.replace(thd.__name__, method.__name__)
    method.__module__ = thd.__module__
    method.__doc__ = thd.__doc__
    signature = inspect.signature(thd)
    parameters = list(signature.parameters.values())
    method.__signature__ = signature.replace(parameters=[parameters[0], *parameters[2:]])
