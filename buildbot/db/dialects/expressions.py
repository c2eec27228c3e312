"""Expressions with a different SQL for each database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, LargeBinary, SmallInteger, Text, bindparam, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import NullType

from buildbot.resources.base import EXACT_TEXT, ONLY_WHERE

#: the place of the ids in a statement's text, on databases where they are not one parameter
IDS_TOKEN = "/*ids*/"


class IdIn(ColumnElement[bool]):
    """``column IN (ids)``; a ``Statement`` is compiled once for any number of ids. A statement has at most one."""

    inherit_cache = False
    # not Boolean: where there is no such type "= 1" would be added, which hides the index
    type = NullType()  # type: ignore[assignment]

    def __init__(self, column: ColumnElement[Any], name: str = "ids") -> None:
        self.column = column
        self.bind = bindparam(name, type_=Text())
        self.name = name


class NoIndex(ColumnElement[Any]):
    """A column of numbers without its index: the statement has ids, and the planner must not prefer another index."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.column = column
        self.type = column.type


class InHistory(ColumnElement[bool]):
    """``column = value``, for statements with the order ``NewestInHistory``.

    PostgreSQL drops a constant column from the order. With few statistics it then prefers the index of ids, which reads
    the rows of all other histories; for a range it does not. The other planners take the index of both columns, but not
    for a range.
    """

    inherit_cache = False
    # not Boolean: where there is no such type "= 1" would be added, which hides the index
    type = NullType()  # type: ignore[assignment]

    def __init__(self, column: ColumnElement[Any], value: ColumnElement[Any]) -> None:
        self.column = column
        self.value = value


class NewestInHistory(ColumnElement[Any]):
    """The order that belongs to ``InHistory``."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[Any], number: ColumnElement[Any]) -> None:
        self.column = column
        self.number = number
        self.type = number.type


class Returned(ColumnElement[Any]):
    """A column of numbers inside an expression in RETURNING. For ``IS NOT NULL`` SQLite 3.40 checks there whether the
    column is nullable, but of a wrong column; with a computed value it does not.
    """

    inherit_cache = False

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.column = column
        self.type = column.type


class Contains(ColumnElement[bool]):
    """Whether text contains a piece, byte for byte: on some databases LIKE ignores case."""

    inherit_cache = False
    # not Boolean: where there is no such type "= 1" would be added, which hides the index
    type = NullType()  # type: ignore[assignment]

    def __init__(self, haystack: ColumnElement[Any], needle: ColumnElement[Any]) -> None:
        self.haystack = haystack
        self.needle = needle


def fixed(count: int) -> ColumnElement[int]:
    """A number for LIMIT in the statement's text: for a parameter PostgreSQL estimates a tenth of all rows, and so
    plans anew each time.
    """
    return literal_column(str(count), Integer)


@compiles(IdIn, "postgresql")
def _id_in_postgresql(element: IdIn, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{compiler.process(element.column, **kw)} = ANY(%({element.name})s)"


@compiles(IdIn, "sqlite")
@compiles(IdIn, "mysql")
@compiles(IdIn, "mariadb")
def _id_in_token(element: IdIn, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{compiler.process(element.column, **kw)} IN ({IDS_TOKEN})"


@compiles(InHistory)
def _of_line(element: InHistory, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{compiler.process(element.column, **kw)} = {compiler.process(element.value, **kw)}"


@compiles(InHistory, "postgresql")
def _of_line_postgresql(element: InHistory, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = (compiler.process(part, **kw) for part in (element.column, element.value))
    return f"{column} BETWEEN {value} AND {value}"


@compiles(NewestInHistory)
def _newest_of_line(element: NewestInHistory, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{compiler.process(element.number, **kw)} DESC"


@compiles(NewestInHistory, "postgresql")
def _newest_of_line_postgresql(element: NewestInHistory, compiler: SQLCompiler, **kw: Any) -> str:
    return ", ".join(f"{compiler.process(part, **kw)} DESC" for part in (element.column, element.number))


@compiles(NoIndex)
@compiles(Returned)
def _plus_nothing(element: NoIndex | Returned, compiler: SQLCompiler, **kw: Any) -> str:
    return f"({compiler.process(element.column, **kw)} + 0)"


@compiles(NoIndex, "sqlite")
def _unindexed_sqlite(element: NoIndex, compiler: SQLCompiler, **kw: Any) -> str:
    return f"+{compiler.process(element.column, **kw)}"


@compiles(Contains, "sqlite")
@compiles(Contains, "mysql")
@compiles(Contains, "mariadb")
def _contains_instr(element: Contains, compiler: SQLCompiler, **kw: Any) -> str:
    return f"instr({compiler.process(element.haystack, **kw)}, {compiler.process(element.needle, **kw)}) > 0"


@compiles(Contains, "postgresql")
def _contains_strpos(element: Contains, compiler: SQLCompiler, **kw: Any) -> str:
    return f"strpos({compiler.process(element.haystack, **kw)}, {compiler.process(element.needle, **kw)}) > 0"


# Indexes of exact text of any length, since common ones refuse long text; indexes of some rows.


@compiles(CreateIndex, "sqlite")
def _create_index_sqlite(element: CreateIndex, compiler: Any, **kw: Any) -> str:
    return str(compiler.visit_create_index(element, **kw)) + _condition(element)


def _condition(element: CreateIndex) -> str:
    condition = element.element.info.get(ONLY_WHERE)
    return "" if condition is None else f" WHERE {condition}"


@compiles(CreateIndex, "mysql")
@compiles(CreateIndex, "mariadb")
def _create_index_mysql(element: CreateIndex, compiler: Any, **kw: Any) -> str:
    if element.element.info.get(EXACT_TEXT):
        element.element.dialect_options["mysql"]["length"] = 64
    return str(compiler.visit_create_index(element, **kw))


@compiles(CreateIndex, "postgresql")
def _create_index_postgresql(element: CreateIndex, compiler: Any, **kw: Any) -> str:
    if element.element.info.get(EXACT_TEXT):
        element.element.dialect_options["postgresql"]["using"] = "hash"
    return str(compiler.visit_create_index(element, **kw)) + _condition(element)


# The types of text of any length and of numbers of any size.


@compiles(Text, "mysql")
@compiles(Text, "mariadb")
def _text_mysql(element: Text, compiler: Any, **kw: Any) -> str:
    return "LONGTEXT"


@compiles(LargeBinary, "mysql")
@compiles(LargeBinary, "mariadb")
def _binary_mysql(element: LargeBinary, compiler: Any, **kw: Any) -> str:
    return "LONGBLOB"


@compiles(BigInteger, "sqlite")
@compiles(SmallInteger, "sqlite")
def _integer_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    # only INTEGER PRIMARY KEY is the row id, and generates ids
    return "INTEGER"
