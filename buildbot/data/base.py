"""Links, lists of resources, and the events that an update announces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.db.connector import DBConnector
from buildbot.db.dialects.context import transaction_of
from buildbot.db.engine.rows import Entity, reader_of
from buildbot.resources.base import Resource
from buildbot.util import jsontext

P = ParamSpec("P")
T = TypeVar("T")


class Link:
    """The path of this or another object, as a list of path elements."""

    __slots__ = ("path",)

    def __init__(self, path: Iterable[str]) -> None:
        #: the path, a list of text
        self.path = path if isinstance(path, list) else list(path)

    def __repr__(self) -> str:
        return f"Link({'/'.join(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Link) and other.path == self.path

    def __hash__(self) -> int:
        return hash(tuple(self.path))


class ResourceList(list[Any]):
    """A list of resources: one page, with the number of all (``total``) and the noun's plural."""

    def __init__(self, items: Iterable[Any], total: int, plural: str) -> None:
        super().__init__(items)
        self.total = total
        self.plural = plural


class Events:
    """Gathers what a transaction announces; the pool writes it to the log, last before the commit."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._announced = transaction_of(conn).events

    def announce(
        self,
        resource: Resource,
        event: str,
        ids: Iterable[int] | int,
        changes: Mapping[str, Any] | None = None,
        asides: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> list[Entity]:
        """Announce an event of resources in their current state; deleted resources are left out.

        Args:
            event: the last segment of the routing key; one of the noun's declared events.
            changes: attributes that differ in the message, or are known and need not be read.
            asides: by id, attributes that the message does not have, or their values before this transaction.
                Subscriptions to paths that depend on these attributes need them.

        Returns:
            the messages.
        """
        if event not in resource.event_names:
            raise ValueError(f"{resource.name} declares no event {event!r}")
        wanted = [ids] if isinstance(ids, int) else list(ids)
        found = reader_of(resource).after_writing(self._conn, wanted, known=changes or ()) if wanted else {}
        keys_of = _keys_of(resource, event)
        messages = []
        for identifier in wanted:
            entity = found.get(identifier)
            if entity is None:
                continue
            keys = keys_of(entity)
            if changes is not None:
                entity = {**entity, **changes}
            if asides and (aside := asides.get(identifier)):
                keys = (*keys, jsontext.encoded(dict(aside)).decode())
            self._announced.append((keys, entity))
            messages.append(entity)
        return messages

    def announce_message(self, key: str, message: Any) -> None:
        """Announce something that is no resource: a wish (``control/…``) or a part of a resource."""
        self._announced.append(((key,), message))


@cache
def _keys_of(resource: Resource, event: str) -> Callable[[Entity], tuple[str, ...]]:
    """A function that gives the routing keys of an event of an entity; a key that names an absent relation is left
    out.
    """
    keys = [(re.sub(r"{(\w+)}", r"%(\1)s", f"{key}/{event}"), re.findall(r"{(\w+)}", key)) for key in resource.events]
    every = "\n".join([key for key, _ in keys])
    fields = {name for _, names in keys for name in names}

    def keys_of(entity: Entity) -> tuple[str, ...]:
        for name in fields:
            if entity[name] is None:
                return tuple([key % entity for key, names in keys if all(entity[n] is not None for n in names)])
        return tuple((every % entity).split("\n"))  # at once, which takes half the time

    return keys_of


class Transacts(Protocol):
    """The class that groups of update methods are mixed into."""

    _db: DBConnector
    claims: dict[str, int]

    def transact(
        self, thd: Callable[Concatenate[Connection, Events, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Run ``thd(conn, events, …)`` in one transaction, together with the events that it announces."""

    def transact_all(self, thd: Callable[..., None], ids: Any, what: str, *args: Any) -> Deferred[None]:
        """As ``transact``, for a ``thd(conn, events, ids, …)`` that does the same for all of the ids, or fails.

        ``ids`` is the value of the caller's argument ``what``; see ``buildbot.db.pool.DBThreadPool.do_all``.
        """

    def transact_each(
        self, thd: Callable[..., list[int]], identifier: int, refusal: type[Exception], *args: Any
    ) -> Deferred[bool]:
        """As ``transact``, for a ``thd(conn, events, ids, …)`` that gives the ids for which it could do it.

        Returns:
            Deferred with whether it did it for this id; in a batch it fails with a ``refusal`` if not.
        """
