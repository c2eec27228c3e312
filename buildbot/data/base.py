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
        messages = []
        for identifier in wanted:
            entity = found.get(identifier)
            if entity is None:
                continue
            keys = routing_keys(resource, entity, event)
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


def routing_keys(resource: Resource, entity: Entity, event: str) -> tuple[str, ...]:
    """The keys under which an event of an entity is announced; one that names an absent relation is left out."""
    keys = []
    for template, names in _key_templates(resource, event):
        values = tuple([entity[name] for name in names])
        if None not in values:
            keys.append(template % values)
    return tuple(keys)


@cache
def _key_templates(resource: Resource, event: str) -> list[tuple[str, list[str]]]:
    """For each routing key its template for ``%``, and the fields that it names."""
    return [(re.sub(r"{\w+}", "%s", key) + f"/{event}", re.findall(r"{(\w+)}", key)) for key in resource.events]


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
