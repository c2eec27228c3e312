"""Rows of a noun as dictionaries, from its declaration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql.visitors import replacement_traverse

from buildbot.db.dialects.context import transaction_of
from buildbot.db.dialects.expressions import IdIn, Returned
from buildbot.db.engine.statements import OwnRow, Row, Statement
from buildbot.resources.base import Embedded, Field, Kind, Related, Resource
from buildbot.resources.types import Flag
from buildbot.util import jsontext

Entity = dict[str, Any]


def _flag(value: Any) -> bool | None:
    return None if value is None else bool(value)


#: conversions of values that are not NULL
_CONVERSIONS: dict[Kind, Callable[[Any], Any]] = {"bool": bool, "json": jsontext.loads, "list": jsontext.loads}


class Reader:
    """Makes dictionaries of a noun's rows, with some of its attributes."""

    def __init__(self, resource: Resource, names: tuple[str, ...]) -> None:
        self.resource = resource
        self.names = names
        own = [(name, f) for name in names if isinstance(f := resource.fields[name], Field)]
        self.related = [(name, r) for name in names if isinstance(r := resource.fields[name], Related)]
        embedded = [(name, e) for name in names if isinstance(e := resource.fields[name], Embedded)]
        #: the columns of a row in order: the id, by which other rows are related; own attributes; embedded objects
        self.columns = [
            resource.id_column.label("_id"),
            *(f.expr.label(name) for name, f in own),
            *(column.label(f"{name}__{column.key}") for name, e in embedded for column in e.columns),
        ]
        self._embedded: list[tuple[str, Labels, int, int]] = []
        start = 1 + len(own)
        for name, e in embedded:
            self._embedded.append((name, _labels(e.columns), start, start + len(e.columns)))
            start += len(e.columns)
        keys = [(name, e.key) for name, e in embedded if e.key is not None]
        #: the columns that a writing statement returns: id, own attributes, keys of embedded objects
        self.own_row = OwnRow(
            resource.table.name,
            (
                self.columns[0],
                *(_returned(f.expr).label(name) for name, f in own),
                *(key.label(f"{name}__key") for name, key in keys),
            ),
        )
        self._embedded_tables = [next(iter(key.foreign_keys)).column.table.name for _, key in keys]
        self._own = tuple(name for name, _ in own)
        self._conversions = tuple((name, _CONVERSIONS[f.value_kind]) for name, f in own if f.value_kind in _CONVERSIONS)
        self._by_ids = Statement(self.select().where(IdIn(resource.id_column)))
        self._related = {name: _related_statement(r) for name, r in self.related}

    def select(self) -> Select[Any]:
        """The SELECT of the noun's own attributes, unrestricted."""
        source = self.resource.source if self._embedded else None
        statement = select(*self.columns).select_from(self.resource.table if source is None else source)
        return statement if self.resource.where is None else statement.where(self.resource.where)

    def is_of_one_moment(self, properties: Sequence[str] | None) -> bool:
        """Whether ``entities`` adds nothing that may have changed since the rows were read, as long as they exist."""
        return all(r.fixed or (r.on_request and properties is None) for _, r in self.related)

    def are_whole(self, entities: Iterable[Entity]) -> bool:
        """Whether each of these has rows of its fixed attributes: a row that was removed meanwhile has none."""
        fixed = [name for name, r in self.related if r.fixed]
        return all(entity[name] for entity in entities for name in fixed)

    def entities(
        self,
        conn: Connection,
        rows: Sequence[Row],
        properties: Sequence[str] | None = None,
        known: Collection[str] = (),
    ) -> list[Entity]:
        """Dictionaries for rows of ``select()``; each related attribute takes one statement for all rows.

        ``known``: related attributes that the caller has and will add.
        """
        own, conversions = self._own, self._conversions
        entities: list[Entity] = []
        for row in rows:
            entity = dict(zip(own, row[1:], strict=False))  # embedded objects follow
            for attribute, convert in conversions:
                value = entity[attribute]
                if value is not None:
                    entity[attribute] = convert(value)
            for name, labels, first, last in self._embedded:
                entity[name] = None if row[first] is None else _nested(labels, row[first:last])
            entities.append(entity)
        if not self.related:
            return entities
        ids = [row[0] for row in rows]
        for name, related in self.related:
            if name in known:
                continue
            if related.on_request and properties is None:
                for entity in entities:
                    entity[name] = related.default if related.default is None else dict(related.default)
                continue
            found = self._relate(conn, name, related, ids, properties)
            for identifier, entity in zip(ids, entities, strict=True):
                entity[name] = found(identifier)
        return entities

    def by_ids(self, conn: Connection, ids: Iterable[int]) -> dict[int, Entity]:
        """Dictionaries of the existing rows, by id."""
        rows = self._by_ids.all(conn, ids=list(ids))
        return {row[0]: entity for row, entity in zip(rows, self.entities(conn, rows), strict=True)}

    def after_writing(self, conn: Connection, ids: Iterable[int], known: Collection[str] = ()) -> dict[int, Entity]:
        """As ``by_ids``, in a writing transaction: rows that its statements returned are not read again.

        ``known``: related attributes that the caller has and will add.
        """
        wanted = list(ids)
        written = transaction_of(conn).written
        here = written.get(self.resource.table.name)
        rows: list[Row] = []
        if here is not None:
            rows = [here[i] for i in wanted if i in here]
            if self._embedded:
                rows = [completed for row in rows if (completed := self._completed(row, written))]
        if len(rows) < len(wanted):
            found = {row[0] for row in rows}
            rows += self._by_ids.all(conn, ids=[i for i in wanted if i not in found])
        return {row[0]: entity for row, entity in zip(rows, self.entities(conn, rows, known=known), strict=True)}

    def _completed(self, row: Row, written: Mapping[str, Mapping[int, Row]]) -> Row | None:
        """A returned row with its embedded objects, if these were returned, too; otherwise None."""
        own = 1 + len(self._own)
        completed = row[:own]
        for table, key, (_, labels, _, _) in zip(self._embedded_tables, row[own:], self._embedded, strict=True):
            other = (None,) * (1 + len(labels)) if key is None else written.get(table, {}).get(key)
            if other is None:
                return None
            completed += other[1:]
        return completed

    def _relate(
        self, conn: Connection, name: str, related: Related, ids: Sequence[int], properties: Sequence[str] | None
    ) -> Callable[[int], Any]:
        statement, labels = self._related[name]
        rows = statement.all(conn, ids=list(ids)) if ids else []
        if related.shape == "properties":
            return _properties(rows, properties)
        grouped: dict[int, list[Any]] = {}
        for row in rows:
            value = row[1] if related.shape == "values" else _nested(labels, row[1:])
            grouped.setdefault(row[0], []).append(value)
        return lambda identifier: grouped.get(identifier, [])


#: readers that are kept: nouns and usual clients need few; hostile clients could need any number, which are made anew
READERS = 128


@lru_cache(READERS)
def reader_of(resource: Resource, names: tuple[str, ...] | None = None) -> Reader:
    """The reader of a noun for these attributes (all, unless given), made once."""
    return Reader(resource, tuple(resource.fields) if names is None else names)


def _returned(expression: ColumnElement[Any]) -> ColumnElement[Any]:
    """An expression for RETURNING."""
    if isinstance(expression, Column):
        return expression

    def replaced(element: Any, **options: Any) -> Any:
        return Returned(element) if isinstance(element, Column) else None

    returned: ColumnElement[Any] = replacement_traverse(expression, {}, replaced)
    return returned


def own_row(resource: Resource) -> OwnRow:
    """The columns that statements which write a noun's rows should return; its embedded objects must have keys."""
    return reader_of(resource).own_row


Labels = list[tuple[str | None, str, Callable[[Any], Any] | None]]


def _related_statement(related: Related) -> tuple[Statement, Labels]:
    owner, *columns = related.statement.selected_columns
    return Statement(related.statement.where(IdIn(owner))), _labels(columns)


def _labels(columns: Iterable[ColumnElement[Any]]) -> Labels:
    labels: Labels = []
    for column in columns:
        nest, _, name = str(column.key).rpartition("__")
        labels.append((nest or None, name, _flag if isinstance(column.type, Flag) else None))
    return labels


def nester(columns: Iterable[ColumnElement[Any]]) -> Callable[[Sequence[Any]], Entity]:
    """A function that makes a dictionary of values of these columns, whose labels ``a__b`` nest."""
    labels = _labels(columns)
    return lambda values: _nested(labels, values)


def _nested(labels: Labels, values: Sequence[Any]) -> Entity:
    entity: Entity = {}
    absent: set[str] = set()
    for (nest, name, convert), value in zip(labels, values, strict=True):
        if convert is not None:
            value = convert(value)
        if nest is None:
            entity[name] = value
        elif nest in absent:
            continue
        elif nest not in entity and value is None:
            entity[nest] = None
            absent.add(nest)
        else:
            entity.setdefault(nest, {})[name] = value
    return entity


def _properties(rows: Sequence[Row], wanted: Sequence[str] | None) -> Callable[[int], dict[str, list[Any]]]:
    chosen = None if wanted is None or "*" in wanted else frozenset(wanted)
    found: dict[int, dict[str, list[Any]]] = {}
    for row in rows:
        if len(row) == 2:
            properties = jsontext.loads(row[1])
            found[row[0]] = {k: v for k, v in properties.items() if chosen is None or k in chosen}
        elif chosen is None or row[1] in chosen:
            found.setdefault(row[0], {})[row[1]] = [jsontext.loads(row[2]), row[3]]
    return lambda identifier: found.get(identifier, {})
