"""The base class of connector components, and the cache of their getters."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, succeed

from buildbot.db.dialects.base import Dialect
from buildbot.db.model import Model
from buildbot.db.pool import DBThreadPool

K = TypeVar("K")
V = TypeVar("V")
K_contra = TypeVar("K_contra", contravariant=True)

#: objects that a cache keeps alive; others stay in it only while callers hold them
STRONG_SIZE = 512


class Told(Protocol):
    """An event, whose message is read when it is first asked for."""

    @property
    def message(self) -> Any:
        """As simple values."""


def first_id(key: tuple[str, ...], told: Told) -> list[int]:
    """The id that is the second segment of a routing key."""
    return [int(key[1])]


def everything(key: tuple[str, ...], told: Told) -> list[None]:
    """None, which stands for all keys of a cache."""
    return [None]


@dataclass(frozen=True)
class Invalidation:
    """Events after which objects in a cache may be out of date.

    Attributes:
        cache: the name that `cached` was given.
        pattern: of routing keys; None matches any one segment.
        keys: the cache's keys that an event makes invalid, from its routing key or, if that has none, its message.
    """

    cache: str
    pattern: tuple[str | None, ...]
    keys: Callable[[tuple[str, ...], Told], Iterable[Any]] = first_id


class Connector(Protocol):
    """The part of `buildbot.db.connector.DBConnector` that every component uses.

    A component that also calls other components names them in a Protocol of its own, beside its class.
    """

    master: Any
    masterid: int
    epoch: int
    dialect: Dialect
    pool: DBThreadPool
    model: Model

    @property
    def caches(self) -> dict[str, list[Cache[Any, Any]]]:
        """Caches of getters by name, one for each component with a getter of that name."""

    def invalidate(self, cache_name: str, key: Any = None) -> None:
        """Forget the object of a key in a cache, or all objects."""


class DBConnectorComponent:
    """Base class of the connector components."""

    #: the events, of this and other masters, that make its caches invalid
    invalidations: ClassVar[tuple[Invalidation, ...]] = ()

    def __init__(self, connector: Connector) -> None:
        #: the connector: ``self.db.pool``, ``self.db.model``, in rare cases ``self.db.master``
        self.db = connector
        for name in dir(type(self)):
            method = getattr(type(self), name, None)
            if isinstance(method, _CachedMethod):
                setattr(self, name, method.bound(self))

    def _owner(self) -> dict[str, int]:
        # the values for statements that write only while this master holds a claim
        return {"owner": self.db.masterid, "owner_epoch": self.db.epoch}


class Cache(Generic[K, V]):
    """Results by key: the latest ones, and others while callers hold them; one query for concurrent misses."""

    def __init__(self, name: str, miss: Callable[[K], Deferred[V | None]]) -> None:
        self.name = name
        self._miss = miss
        self._weak: WeakValueDictionary[K, Any] = WeakValueDictionary()
        self._strong: OrderedDict[K, V] = OrderedDict()
        self._waiting: dict[K, list[Deferred[V | None]]] = {}
        self._generation = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: K) -> Deferred[V | None]:
        """The value for ``key``, read from the database only if the cache does not have it."""
        value = self._weak.get(key)
        if value is not None:
            self.hits += 1
            self._keep(key, value)
            return succeed(value)
        self.misses += 1
        waiter: Deferred[V | None] = Deferred()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(waiter)
            return waiter
        self._waiting[key] = [waiter]
        generation = self._generation

        def arrived(result: Any) -> None:
            # a value that was invalidated while it was being read may be out of date
            if result is not None and not _is_failure(result) and generation == self._generation:
                self.put(key, result)
            for waiting in self._waiting.pop(key):
                if _is_failure(result):
                    waiting.errback(result)
                else:
                    waiting.callback(result)

        self._miss(key).addBoth(arrived)
        return waiter

    @property
    def is_empty(self) -> bool:
        """Whether it has no values, and is reading none."""
        return not (self._weak or self._strong or self._waiting)

    def put(self, key: K, value: V) -> None:
        """Store a value; one that allows no weak references stays only among the latest."""
        try:
            self._weak[key] = value
        except TypeError:
            return
        self._keep(key, value)

    def invalidate(self, key: K | None = None) -> None:
        """Forget one key, or all."""
        self._generation += 1
        if key is None:
            self._weak.clear()
            self._strong.clear()
        else:
            self._weak.pop(key, None)
            self._strong.pop(key, None)

    def _keep(self, key: K, value: V) -> None:
        self._strong[key] = value
        self._strong.move_to_end(key)
        if len(self._strong) > STRONG_SIZE:
            self._strong.popitem(last=False)


def _is_failure(result: Any) -> bool:
    from twisted.python.failure import Failure

    return isinstance(result, Failure)


class _CachedMethod:
    """A decorated getter on its class; each component instance has a cache of its own."""

    def __init__(self, cache_name: str, method: Callable[..., Deferred[Any]]) -> None:
        self.cache_name = cache_name
        self.method = method
        self.__doc__ = method.__doc__
        self.__name__ = method.__name__
        parameters = list(inspect.signature(method).parameters.values())
        extra = inspect.Parameter("no_cache", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False)
        self.__signature__ = inspect.Signature([*parameters, extra])

    def bound(self, component: Any) -> Callable[..., Deferred[Any]]:
        """The method as callers of one component see it, with its ``cache`` attribute."""
        method = self.method
        cache: Cache[Any, Any] = Cache(self.cache_name, lambda key: method(component, key))

        @wraps(method)
        def wrapper(key: Any, no_cache: bool = False) -> Deferred[Any]:
            if no_cache:
                return method(component, key)
            return cache.get(key)

        wrapper.cache = cache  # type: ignore[attr-defined]
        wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            list(self.__signature__.parameters.values())[1:]
        )
        component.db.caches.setdefault(self.cache_name, []).append(cache)
        return wrapper


class CachedGetter(Protocol[K_contra, V]):
    """A cached getter as callers of a component see it."""

    @property
    def cache(self) -> Cache[Any, Any]:
        """The cache of this component."""

    def __call__(self, key: K_contra, /, no_cache: bool = False) -> Deferred[V]:
        """The object of a key."""


def cached(cachename: str) -> Callable[[Callable[[Any, K], Deferred[V]]], CachedGetter[K, V]]:
    """Cache a getter that fetches an object from the database by one key.

    The decorated method takes the key and an optional ``no_cache``; if that is true, the database is asked even if
    the key is in the cache. The method has an attribute ``cache``. Its result must allow weak references
    (a subclass of dict), and must not be changed by callers. A ``None`` is never cached.
    """

    def decorate(method: Callable[[Any, K], Deferred[V]]) -> Any:
        return _CachedMethod(cachename, method)

    return decorate


__all__ = ["Cache", "Connector", "DBConnectorComponent", "Invalidation", "cached", "everything", "first_id"]
