"""What a declaration of a noun is made of.

A noun's SELECT, dictionary keys, filters, orders, argument types, event bodies, routing keys and reference pages all
follow from its ``Resource``. Declarations are values and expressions; a wrong one does not import.
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
#: marks an index that needs to hold only the rows that meet a condition
ONLY_WHERE = "only_where"


class DeclarationError(Exception):
    """A noun's declaration contradicts itself."""


def kind_of(expression: ColumnElement[Any]) -> Kind:
    """What a column's values mean to callers."""
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

    ``db_key``: the connector's name for it where the specification has another. ``of``: of a list, the kind of its
    elements, which filters compare.
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
        """What its values mean to callers."""
        return self.kind or kind_of(self.expr)


@dataclass(frozen=True, eq=False)
class Related:
    """An attribute read from other rows, for a whole list of nouns in one statement.

    ``statement`` selects the owner's id first; it is restricted to the owners with ``owner IN ids``. ``shape``:

    - ``values``: list of the second column;
    - ``objects``: list of dictionaries of the further columns; a label ``a__b`` nests, and a nest whose first value
      is NULL is None;
    - ``properties``: ``{name: [value, source]}`` of the columns name, value (JSON), source.

    ``on_request``: read only for callers that ask for it, ``default`` otherwise. ``contains``: an expression over the
    noun's row and the bind parameter ``value`` that is true if the attribute contains the value.
    """

    statement: Select[Any]
    shape: Literal["values", "objects", "properties"]
    doc: str
    kind: Kind = "list"
    on_request: bool = False
    default: Any = None
    contains: ColumnElement[bool] | None = None

    @property
    def of(self) -> Kind:
        """The kind of the elements, which filters compare."""
        return kind_of(list(self.statement.selected_columns)[1]) if self.shape == "values" else "str"


@dataclass(frozen=True, eq=False)
class Embedded:
    """Another object that a row has at most one of, read in the row's own statement.

    ``columns`` come from what the noun's ``source`` joins; their labels nest as those of ``Related``. The value is None
    where the first of them is NULL. ``key``: the column of the noun's own row that names the other object, if it has
    one.
    """

    columns: tuple[ColumnElement[Any], ...]
    doc: str
    key: Column[Any] | None = None

    @property
    def kind(self) -> Kind:
        """What its values mean to callers."""
        return "json"


Attribute = Field | Related | Embedded


@dataclass(frozen=True)
class Equals:
    """A field has the value of a path's variable; of a list, any element. ``a.b`` is in an object."""

    field: str
    variable: str


@dataclass(frozen=True)
class Element:
    """A list has an element with the values of these variables, which are called as its fields are."""

    field: str
    variables: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Among:
    """A field has a value that a field (``key``) of other resources has, of those of which a condition is true.

    ``single``: there is at most one such resource, for ever the same. ``found_by`` is where those that there are
    already are found, if the condition is about an aside.
    """

    field: str
    plural: str
    key: str
    condition: Condition
    single: bool = False
    found_by: Path | None = None


@dataclass(frozen=True)
class Known:
    """The resource was at the path when the subscription began, and nothing comes to be there later."""


@dataclass(frozen=True)
class Every:
    """All of these are true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Either:
    """One of these is true."""

    parts: tuple[Condition, ...]


Condition = Equals | Element | Among | Known | Every | Either


@dataclass(frozen=True, eq=False)
class Path:
    """A place where the noun is found: ``builders/n:builderid/builds``.

    A variable that is a field of the noun restricts it; every other one must occur as a bind parameter in ``where``.
    A path whose last part is a variable gives a single resource, every other a collection. ``hears`` says of which
    messages a subscription hears, where that does not follow from the rest (``heard.condition_of``).
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
    """A link of the noun: the path of what it points to, with fields of the noun in braces."""

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
    #: whether every write that changes what is read of it is an event, so that the clock tells whether an answer of it
    #: is still true. Each noun says so or not: a wrong True gives clients answers that are out of date.
    announced: bool
    #: what belongs to a build: the field that leads there, ``buildid`` or the key of another noun that belongs to one.
    #: Rules about builds hold for it.
    build_by: str | None = None
    #: the event of a row that is made on first use of its name
    made: str | None = None
    events: tuple[str, ...] = ()
    event_names: tuple[str, ...] = ()
    source: FromClause | None = None
    where: ColumnElement[bool] | None = None
    links: Mapping[str, LinkTo] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    growing: bool = False
    #: filters for one value that ask for another as well, unless that is filtered by itself: (field, value) → the same
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
            raise DeclarationError(f"{self.name}: it is said to be announced, but has no events")
        if self.made is not None and self.made not in self.event_names:
            raise DeclarationError(f"{self.name}: the event {self.made!r} of what is made is none of its events")
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
        """What the values of one of its fields mean."""
        attribute = self.fields[name]
        return attribute.value_kind if isinstance(attribute, Field) else attribute.kind

    def compared(self, name: str) -> Kind:
        """What a filter compares one of its fields with: its values, or the elements of its lists."""
        attribute, kind = self.fields[name], self.kind(name)
        return attribute.of if kind == "list" and not isinstance(attribute, Embedded) else kind


def bind_names(clause: ColumnElement[bool] | None) -> set[str]:
    """The names of the bind parameters in an expression."""
    if clause is None:
        return set()
    from sqlalchemy.sql.visitors import iterate

    return {element.key for element in iterate(clause) if isinstance(element, BindParameter)}


def unset(flag: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a flag is 0, as a literal: of a parameter no planner knows that an index of such rows alone will do."""
    return flag == literal_column("0")


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of some rows, for queries that ask for these alone; of all rows where the database has no such index.

    The condition's column comes first, for the latter.
    """
    return Index(name, *columns, info={ONLY_WHERE: where})


def id_column() -> Column[int]:
    """The number of a row, given out ascending and never twice."""
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
