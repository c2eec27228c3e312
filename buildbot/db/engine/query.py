"""Lists of a noun by filters, order and page, all of it in SQL.

A ``Query`` is a value: made and checked once by the Data layer, then read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Integer, Select, bindparam, func, literal, not_, or_, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression
from sqlalchemy.sql.selectable import ScalarSelect

from buildbot.db.dialects import Dialect
from buildbot.db.dialects.context import dialect_of
from buildbot.db.dialects.expressions import Contains, fixed
from buildbot.db.engine.rows import Entity, reader_of
from buildbot.db.engine.statements import Row, Statement
from buildbot.resources.base import Field, Path, Related, Resource, bind_names, unset
from buildbot.resources.events import clock
from buildbot.resources.types import Flag, ListText
from buildbot.util import jsontext


@dataclass(frozen=True)
class Condition:
    """A filter: a field, an operator's name, and one or several values of the field's kind."""

    field: str
    operator: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Query:
    """A query of a list, or of one resource."""

    conditions: tuple[Condition, ...] = ()
    order: tuple[str, ...] = ()
    limit: int | None = None
    offset: int = 0
    fields: tuple[str, ...] | None = None
    properties: tuple[str, ...] | None = None
    expand: tuple[str, ...] = ()
    #: whether the Data layer adds links to the result
    links: bool = True


@dataclass(frozen=True)
class Operator:
    """A filter's operator: its meaning in SQL, and whether it takes several values."""

    name: str
    doc: str
    several: bool
    apply: Callable[[ColumnElement[Any], tuple[Any, ...]], ColumnElement[bool]]


def _equal(expression: ColumnElement[Any], values: tuple[Any, ...]) -> ColumnElement[bool]:
    if isinstance(values[0], bool):
        # (x IS NOT NULL) = false scans the table where x IS NULL uses the index
        if len(set(values)) > 1:
            return or_(_true(expression), _false(expression))
        return _true(expression) if values[0] else _false(expression)
    plain = [value for value in values if value is not None]
    parts: list[ColumnElement[bool]] = []
    if plain:
        parts.append(expression == plain[0] if len(plain) == 1 else expression.in_(plain))
    if len(plain) < len(values):
        parts.append(expression.is_(None))
    return parts[0] if len(parts) == 1 else or_(*parts)


def _true(expression: ColumnElement[Any]) -> ColumnElement[bool]:
    return expression == 1 if isinstance(expression.type, Flag) else expression


def _false(expression: ColumnElement[Any]) -> ColumnElement[bool]:
    # "!= 1" reads the index from end to end
    return unset(expression) if isinstance(expression.type, Flag) else not_(expression)


def _different(expression: ColumnElement[Any], values: tuple[Any, ...]) -> ColumnElement[bool]:
    if isinstance(values[0], bool) or None in values:
        return not_(_equal(expression, values))
    # NULL differs from every value
    unequal = expression != values[0] if len(values) == 1 else expression.not_in(values)
    return or_(unequal, expression.is_(None)) if _nullable(expression) else unequal


def _contains(expression: ColumnElement[Any], values: tuple[Any, ...]) -> ColumnElement[bool]:
    is_list = isinstance(expression.type, ListText)
    needles = [jsontext.list_element(value) if is_list else str(value) for value in values]
    return or_(*(Contains(expression, literal(needle)) for needle in needles))


OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator("eq", "equal to one of the values", True, _equal),
        Operator("ne", "equal to none of the values", True, _different),
        Operator("lt", "less than", False, lambda e, v: e < v[0]),
        Operator("le", "less than or equal", False, lambda e, v: e <= v[0]),
        Operator("gt", "greater than", False, lambda e, v: e > v[0]),
        Operator("ge", "greater than or equal", False, lambda e, v: e >= v[0]),
        Operator(
            "contains",
            "text that contains one of the values, or a list with one of them",
            True,
            _contains,
        ),
        Operator("in", "any of", True, _equal),
        Operator("notin", "none of", True, _different),
    )
}


#: selected with every row, so that one statement tells the moment that it saw
CLOCK = select(clock.c.seq).where(clock.c.id == 1).scalar_subquery().label("_clock")

#: operators whose statement does not depend on the value
_COMPARISONS = frozenset({"eq", "in", "lt", "le", "gt", "ge"})


class Page(NamedTuple):
    """One page of a list."""

    entities: list[Entity]
    #: the number of rows on all pages; None if ``count`` must be called
    total: int | None
    #: the clock when the rows were read; None if there are none
    clock: int | None


def fetch(
    conn: Connection,
    resource: Resource,
    path: Path,
    variables: Mapping[str, Any],
    query: Query,
    with_total: bool = False,
) -> Page:
    """One page of the list at ``path``.

    ``with_total``: the same statement counts the rows on all pages, unless there are none on this one.
    """
    reader = reader_of(resource, query.fields)
    listing = _counted_listing if with_total else _listing
    rows = _run(conn, listing, resource, path, variables, query) if query.limit != 0 else []
    entities = reader.entities(conn, rows, query.properties)
    last_page = query.limit is None or 0 < len(rows) < query.limit
    total = query.offset + len(rows) if last_page and (rows or not query.offset) else None
    if total is None and with_total and rows:
        total = rows[0][-2]
    return Page(entities, total, rows[0][-1] if rows else None)


def count(
    conn: Connection, resource: Resource, path: Path, variables: Mapping[str, Any], query: Query
) -> tuple[int, int | None]:
    """The number of entities of the list at ``path``, and the clock then; None if the clock is not known."""
    counted = replace(query, order=(), limit=None, offset=0)
    total, *at = _run(conn, _counting, resource, path, variables, counted)[0]
    return int(total), int(at[0]) if at else None


def fetch_one(
    conn: Connection, resource: Resource, path: Path, variables: Mapping[str, Any], query: Query
) -> Entity | None:
    """The one entity at ``path``, or None."""
    page = fetch(conn, resource, path, variables, only_one(query))
    return page.entities[0] if page.entities else None


def only_one(query: Query) -> Query:
    """The parts of a query that apply to one entity."""
    return Query(limit=1, fields=query.fields, properties=query.properties)


def in_one_moment(resource: Resource, query: Query) -> bool:
    """Whether the whole result of ``fetch`` is of the moment of its clock, without a snapshot, if it is `are_whole`."""
    return reader_of(resource, query.fields).is_of_one_moment(query.properties)


def are_whole(resource: Resource, query: Query, entities: Iterable[Entity]) -> bool:
    """Whether none of these entities was removed while ``fetch`` read it."""
    return reader_of(resource, query.fields).are_whole(entities)


#: makes the SELECT of a query at a path for a dialect; of a shape (true), or with the query's own values
_Make = Callable[[Dialect, Resource, Path, Query, bool], Select[Any]]


@dataclass(frozen=True)
class _Given:
    """A placeholder in a query for a value that is given when its statement runs."""

    name: str


def _run(
    conn: Connection, make: _Make, resource: Resource, path: Path, variables: Mapping[str, Any], query: Query
) -> list[Row]:
    """Rows of a query; queries that differ only in their values are compiled once."""
    shape, values = _shape(query, dialect_of(conn).plans_by_limit)
    if shape is not None:
        return _prepared(make, resource, path, shape).all(conn, **variables, **values)
    return [tuple(row) for row in conn.execute(make(dialect_of(conn), resource, path, query, False), dict(variables))]


#: compiled shapes that are kept: the page and usual clients need some dozens, hostile clients any number
SHAPES = 256


@lru_cache(SHAPES)
def _prepared(make: _Make, resource: Resource, path: Path, shape: Query) -> Statement:
    return Statement(lambda dialect: make(dialect, resource, path, shape, True))


def _shape(query: Query, with_limit: bool) -> tuple[Query | None, dict[str, Any]]:
    """The query without its values, and the values; None if the statement depends on the number of values.

    ``with_limit``: the limit stays.
    """
    values: dict[str, Any] = {}
    conditions = []
    for place, condition in enumerate(query.conditions):
        value = condition.values[0]
        if len(condition.values) > 1 or value is None or condition.operator not in _COMPARISONS:
            return None, {}
        if not isinstance(value, bool):
            values[f"given_{place}"] = value
            condition = replace(condition, values=(_Given(f"given_{place}"),))
        conditions.append(condition)
    limit = query.limit
    if limit is not None and not with_limit:
        values["given_limit"], limit = limit, 1
    if query.offset:
        values["given_offset"] = query.offset
    shape = Query(
        conditions=tuple(conditions),
        order=query.order,
        limit=limit,
        offset=1 if query.offset else 0,
        fields=query.fields,
    )
    return shape, values


def _listing(dialect: Dialect, resource: Resource, path: Path, query: Query, shaped: bool) -> Select[Any]:
    return _paged(dialect, resource, path, query, shaped, CLOCK)


def _counted_listing(dialect: Dialect, resource: Resource, path: Path, query: Query, shaped: bool) -> Select[Any]:
    total = _count(resource, path, query, func.count()).correlate(None).scalar_subquery().label("_total")
    return _paged(dialect, resource, path, query, shaped, total, CLOCK)


def _paged(
    dialect: Dialect, resource: Resource, path: Path, query: Query, shaped: bool, *columns: ColumnElement[Any]
) -> Select[Any]:
    statement = _restricted(reader_of(resource, query.fields).select().add_columns(*columns), resource, path, query)
    limit: Any = query.limit
    if limit is not None and shaped:
        limit = fixed(limit) if dialect.plans_by_limit else bindparam("given_limit", type_=Integer)
    if query.limit is not None:
        statement = statement.limit(limit)
    if query.offset:
        # MySQL has no OFFSET without LIMIT
        statement = statement.limit(2**63 - 1 if query.limit is None else limit)
        statement = statement.offset(bindparam("given_offset", type_=Integer) if shaped else query.offset)
    return statement.order_by(*_order(dialect, resource, query))


def _counting(dialect: Dialect, resource: Resource, path: Path, query: Query, shaped: bool) -> Select[Any]:
    # an embedded database counts a whole table quickly, in a statement of its own
    return _count(resource, path, query, *((func.count(), CLOCK) if dialect.remote else (func.count(),)))


def _count(resource: Resource, path: Path, query: Query, *counted: ColumnElement[Any]) -> Select[Any]:
    counting = select(*counted).select_from(resource.table)
    if resource.where is not None:
        counting = counting.where(resource.where)
    return _restricted(counting, resource, path, query)


def _restricted(statement: Select[Any], resource: Resource, path: Path, query: Query) -> Select[Any]:
    bound = bind_names(path.where)
    for name in path.variables:
        field = resource.fields.get(name)
        if isinstance(field, Field) and name not in bound:
            statement = statement.where(field.expr == bindparam(name, type_=field.expr.type))
    if path.where is not None:
        statement = statement.where(path.where)
    for condition in query.conditions:
        statement = statement.where(_condition(resource, condition))
    return statement


def _condition(resource: Resource, condition: Condition) -> ColumnElement[bool]:
    attribute = resource.fields[condition.field]
    if isinstance(attribute, Related):
        owner, value, *_ = attribute.statement.selected_columns
        with_value = attribute.statement.with_only_columns(owner).order_by(None).where(value.in_(condition.values))
        return resource.id_column.in_(with_value)
    assert isinstance(attribute, Field)  # the Data layer has checked it
    values = tuple(
        bindparam(v.name, type_=attribute.expr.type) if isinstance(v, _Given) else v for v in condition.values
    )
    return OPERATORS[condition.operator].apply(attribute.expr, values)


def _order(dialect: Dialect, resource: Resource, query: Query) -> list[ColumnElement[Any]]:
    names = query.order or resource.order
    present = _never_null(resource, query)
    elements = []
    for name in names:
        attribute = resource.fields[name.lstrip("-")]
        assert isinstance(attribute, Field)
        expression = attribute.expr
        nullable = _nullable(expression) and not any(expression is each for each in present)
        elements.append(dialect.ordered(expression, name.startswith("-"), nullable))
    if not any(resource.fields[name.lstrip("-")].expr is resource.id_column for name in names):  # type: ignore[union-attr]
        # the id orders equal elements, so that pages neither repeat nor skip rows; descending lists stay descending
        elements.append(dialect.ordered(resource.id_column, bool(names) and names[-1].startswith("-"), False))
    return elements


def _never_null(resource: Resource, query: Query) -> list[ColumnElement[Any]]:
    """The columns that cannot be NULL in a row that meets the query's conditions.

    An order by such a column needs no place for NULL, and more databases can use an index for it.
    """
    found: list[ColumnElement[Any]] = []
    for condition in query.conditions:
        expression = getattr(resource.fields[condition.field], "expr", None)
        if isinstance(expression, Column) and condition.operator in ("lt", "le", "gt", "ge"):
            found.append(expression)
        elif (
            isinstance(expression, BinaryExpression)
            and expression.operator is operators.is_not
            and (condition.operator, condition.values) == ("eq", (True,))
        ):
            found.append(expression.left)
    return found


def _nullable(expression: ColumnElement[Any]) -> bool:
    return bool(expression.nullable) if isinstance(expression, Column) else isinstance(expression, ScalarSelect)
