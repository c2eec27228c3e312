"""The parts of a noun's declaration.

A noun's SELECT, dictionary keys, filters, orders, argument types, event bodies, routing keys and reference pages all
follow from its ``Resource``. Declarations are values and expressions; a wrong one is an error at import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    literal_column,
)
from sqlalchemy.sql.elements import BindParameter, Cast
from sqlalchemy.sql.schema import SchemaItem
from sqlalchemy.sql.selectable import ScalarSelect

from buildbot.resources.types import Blob, Flag, Hash, Id, JsonText, ListText, UnixTime

Kind = Literal["int", "str", "bool", "time", "json", "list"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


#: marks an index over text of any length
EXACT_TEXT = "exact_text"
#: marks an index that needs only the rows for which a condition holds
ONLY_WHERE = "only_where"


class DeclarationError(Exception):
    """A noun's declaration contradicts itself."""


def kind_of(expression: ColumnElement[Any]) -> Kind:
    """The kind of a column's values."""
    column_type = expression.type
    if isinstance(column_type, ListText):
        return "list"
    if isinstance(column_type, JsonText):
        return "json"
    if isinstance(column_type, UnixTime):
        return "time"
    if isinstance(column_type, Flag) or column_type.python_type is bool:
        return "bool"
    if isinstance(column_type, Text | String):
        return "str"
    if isinstance(column_type, Id | Integer):
        return "int"
    raise DeclarationError(f"no kind for the type {column_type!r} of {expression}")


@dataclass(frozen=True, eq=False)
class Field:
    """An attribute computed from the noun's own row.

    ``db_key``: its name in the connector, if that is another one. ``of``: the kind of the elements of a list, which
    filters compare.
    """

    expr: ColumnElement[Any]
    doc: str
    db_key: str | None = None
    kind: Kind | None = None
    of: Kind = "str"

    @property
    def nullable(self) -> bool:
        """Whether a value may be None."""
        return bool(self.expr.nullable) if isinstance(self.expr, Column) else isinstance(self.expr, ScalarSelect | Cast)

    @property
    def value_kind(self) -> Kind:
        """The kind of its values."""
        return self.kind or kind_of(self.expr)


@dataclass(frozen=True, eq=False)
class Related:
    """An attribute read from other rows, for a whole list of resources in one statement.

    ``statement`` selects the owner's id first; it is restricted to the owners with ``owner IN ids``. ``shape``:

    - ``values``: list of the second column;
    - ``objects``: list of dictionaries of the further columns; a label ``a__b`` nests, and a nest whose first value
      is NULL is None;
    - ``properties``: ``{name: [value, source]}`` of the columns name, value (JSON), source.

    ``on_request``: read only for callers that ask for it, ``default`` otherwise. ``fixed``: the rows stay as they are
    while their owner exists, so that they need not be read at the same moment. ``contains``: an expression over the
    noun's row and the bind parameter ``value`` that is true if the attribute contains the value.
    """

    statement: Select[Any]
    shape: Literal["values", "objects", "properties"]
    doc: str
    kind: Kind = "list"
    on_request: bool = False
    default: Any = None
    fixed: bool = False
    contains: ColumnElement[bool] | None = None

    @property
    def of(self) -> Kind:
        """The kind of its elements, which filters compare."""
        return kind_of(list(self.statement.selected_columns)[1]) if self.shape == "values" else "str"


@dataclass(frozen=True, eq=False)
class Embedded:
    """Another object of a row, at most one, read in the row's own statement.

    ``columns`` are of the tables that the noun's ``source`` joins; their labels nest as those of ``Related``. The value
    is None where the first column is NULL. ``key``: the column of the noun's own row that refers to the other object,
    if there is one.
    """

    columns: tuple[ColumnElement[Any], ...]
    doc: str
    key: Column[Any] | None = None

    @property
    def kind(self) -> Kind:
        """The kind of its values."""
        return "json"


Attribute = Field | Related | Embedded


@dataclass(frozen=True)
class Equals:
    """A field has the value of a path's variable; a list has it as an element. ``a.b`` is in an object."""

    field: str
    variable: str


@dataclass(frozen=True)
class Element:
    """A list has an element with the values of these variables, which have the names of its fields."""

    field: str
    variables: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Among:
    """A field has the same value as the field ``key`` of another resource for which a condition holds.

    ``single``: there is at most one such resource, and it never changes. ``found_by``: the path where the present ones
    are found, if the condition is about an aside.
    """

    field: str
    plural: str
    key: str
    condition: Condition
    single: bool = False
    found_by: Path | None = None


@dataclass(frozen=True)
class Known:
    """The resource was at the path when the subscription began; later there are no new ones."""


@dataclass(frozen=True)
class Every:
    """All of these conditions hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Either:
    """One of these conditions holds."""

    parts: tuple[Condition, ...]


Condition = Equals | Element | Among | Known | Every | Either


@dataclass(frozen=True, eq=False)
class Path:
    """A path of the noun: ``builders/n:builderid/builds``.

    A variable that is a field of the noun restricts it; every other one must occur as a bind parameter in ``where``.
    A path whose last part is a variable gives a single resource, every other a collection. ``hears``: the
    condition on the messages that a subscription gets, where it does not follow from the rest (``heard.condition_of``).
    """

    pattern: str
    where: ColumnElement[bool] | None = None
    single: bool | None = None
    hears: Condition | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Its segments, variables with their type prefix."""
        return tuple(self.pattern.split("/"))

    @property
    def is_single(self) -> bool:
        """Whether it gives one resource rather than a list."""
        return ":" in self.parts[-1] if self.single is None else self.single

    @property
    def bound(self) -> set[str]:
        """Names of the bind parameters in its condition."""
        return bind_names(self.where)

    @property
    def variables(self) -> dict[str, str]:
        """Names of its variables with their type: ``n`` number, ``i`` identifier, ``s`` text."""
        found = [part.split(":", 1) for part in self.parts if ":" in part]
        return {name: kind for kind, name in found}


@dataclass(frozen=True, eq=False)
class LinkTo:
    """A link of the noun: the path that it points to, with fields of the noun in braces."""

    path: str


@dataclass(frozen=True, eq=False)
class Resource:
    """A noun of the vocabulary, declared once."""

    name: str
    plural: str
    table: Table
    key: str
    doc: str
    #: the TypedDict of its dictionaries in the Data API
    entity: type[Any]
    fields: Mapping[str, Attribute]
    paths: tuple[Path, ...]
    #: whether every write that changes its resources is an event. Then an answer is still true while the clock is the
    #: same. A wrong True gives clients answers that are out of date.
    announced: bool
    #: for nouns that belong to a build: the field that leads to it, ``buildid`` or the key of another such noun.
    #: Rules about builds hold for them.
    build_by: str | None = None
    #: the event of a row that is added on first use of its name
    made: str | None = None
    events: tuple[str, ...] = ()
    event_names: tuple[str, ...] = ()
    source: FromClause | None = None
    where: ColumnElement[bool] | None = None
    links: Mapping[str, LinkTo] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    growing: bool = False
    #: filters that imply another filter, unless the query has one for that field: (field, value) → (field, value)
    implied: Mapping[tuple[str, Any], tuple[str, Any]] = field(default_factory=dict)
    #: the TypedDict of its dictionaries in the connector, where they differ
    db_entity: type[Any] | None = None

    def __post_init__(self) -> None:
        if self.key not in self.fields:
            raise DeclarationError(f"{self.name}: the key {self.key!r} is no field")
        for template in (*self.events, *(link.path for link in self.links.values())):
            for name in re.findall(r"{(\w+)}", template):
                if name not in self.fields:
                    raise DeclarationError(f"{self.name}: {template!r} names {name!r}, which is no field")
        if self.announced and not self.event_names:
            raise DeclarationError(f"{self.name}: announced is True, but it has no events")
        if self.made is not None and self.made not in self.event_names:
            raise DeclarationError(f"{self.name}: made is {self.made!r}, which is none of its events")
        for path in self.paths:
            bound = bind_names(path.where)
            for name in path.variables:
                if name not in bound and not isinstance(self.fields.get(name), Field):
                    raise DeclarationError(f"{self.name}: {path.pattern!r} has {name!r}, neither a field nor bound")
        for name in self.order:
            if name.lstrip("-") not in self.fields:
                raise DeclarationError(f"{self.name}: the order {name!r} is no field")
        for name, _ in (*self.implied, *self.implied.values()):
            if name not in self.fields:
                raise DeclarationError(f"{self.name}: the filter {name!r} is no field")
        for name, attribute in self.fields.items():
            if isinstance(attribute, Field):
                attribute.value_kind  # noqa: B018  a type without a kind must not import
            elif isinstance(attribute, Embedded):
                if self.source is None:
                    raise DeclarationError(f"{self.name}: {name!r} is embedded, but there is no source that joins it")
            elif len(attribute.statement.selected_columns) < 2:
                raise DeclarationError(f"{self.name}: {name!r} selects nothing but its owner")

    @property
    def id_column(self) -> Column[Any]:
        """The column that identifies its rows."""
        return next(iter(self.table.primary_key.columns))

    def kind(self, name: str) -> Kind:
        """The kind of one of its fields."""
        attribute = self.fields[name]
        return attribute.value_kind if isinstance(attribute, Field) else attribute.kind

    def compared(self, name: str) -> Kind:
        """The kind that a filter compares one of its fields with: of its values, or of the elements of its lists."""
        attribute, kind = self.fields[name], self.kind(name)
        return attribute.of if kind == "list" and not isinstance(attribute, Embedded) else kind


def bind_names(clause: ColumnElement[bool] | None) -> set[str]:
    """The names of the bind parameters in an expression."""
    if clause is None:
        return set()
    from sqlalchemy.sql.visitors import iterate

    return {element.key for element in iterate(clause) if isinstance(element, BindParameter)}


def unset(flag: ColumnElement[Any]) -> ColumnElement[bool]:
    """A condition that a flag is 0, as a literal: with a parameter no planner can choose an index of such rows."""
    return flag == literal_column("0")


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the rows for which a condition holds; of all rows on databases without partial indexes.

    The condition's column comes first, for these databases.
    """
    return Index(name, *columns, info={ONLY_WHERE: where})


def id_column() -> Column[int]:
    """The number of a row; numbers rise, and none is used twice."""
    return Column("id", Id, primary_key=True, autoincrement=True)


def text_index(table_name: str, column: str) -> Index:
    """An index for look-ups of exact values of a text column of any length; each database has its own kind for that."""
    return Index(f"ix_{table_name}_{column}", column, info={EXACT_TEXT: True})


def table(name: str, *items: SchemaItem) -> Table:
    """A table of the schema."""
    return Table(name, metadata, *items)


__all__ = [
    "Among",
    "Attribute",
    "Blob",
    "Condition",
    "DeclarationError",
    "Either",
    "Element",
    "Embedded",
    "Equals",
    "Every",
    "Field",
    "Flag",
    "Hash",
    "Id",
    "JsonText",
    "Kind",
    "Known",
    "LinkTo",
    "ListText",
    "Path",
    "Related",
    "Resource",
    "UnixTime",
    "id_column",
    "kind_of",
    "metadata",
    "partial_index",
    "table",
    "text_index",
    "unset",
]
