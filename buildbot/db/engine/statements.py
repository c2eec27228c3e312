"""Statements compiled once per database and run on the driver's own cursor.

SQLAlchemy Core defines a statement; on hot paths its compilation cache and result objects would cost more than the
query. A ``Statement`` keeps the compiled text and the order of its parameters, and gives plain tuples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, bindparam, select
from sqlalchemy import Delete as CoreDelete
from sqlalchemy import Insert as CoreInsert
from sqlalchemy import Update as CoreUpdate
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Dialect as CoreDialect
from sqlalchemy.sql import Executable
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate

from buildbot.db.dialects.base import Dialect
from buildbot.db.dialects.context import context_of, dialect_of, transaction_of
from buildbot.db.dialects.driver import execute, execute_after, execute_both
from buildbot.db.dialects.expressions import IDS_TOKEN, IdIn

Row = tuple[Any, ...]

#: the text of an INSERT of one row
_ONE_ROW = re.compile(r"(INSERT INTO .* VALUES )(\([^()]*(?:\([^()]*\)[^()]*)*\))( RETURNING .*)?", re.DOTALL)
#: rows in one INSERT
MAX_ROWS = 50


class OwnRow(NamedTuple):
    """The columns of a noun's own row in its table; the first is its id."""

    table: str
    columns: tuple[ColumnElement[Any], ...]


class _Compiled:
    """One statement in the SQL of one database."""

    __slots__ = (
        "_constants",
        "_names",
        "_ordered",
        "_repeated",
        "_spread",
        "is_plain_insert",
        "reads",
        "table",
        "text",
    )

    def __init__(self, statement: Executable, dialect: CoreDialect) -> None:
        # only the columns that the statement names
        compiled = statement.compile(dialect=dialect, column_keys=[])  # type: ignore[attr-defined]
        self.text = str(compiled)
        self.reads = isinstance(statement, SelectBase)
        #: whether it inserts one row, and does nothing else
        self.is_plain_insert = isinstance(statement, CoreInsert) and _ONE_ROW.fullmatch(self.text) is not None
        #: the table whose rows it changes; None if it may change rows of other tables, too
        self.table: str | None = None
        if isinstance(statement, CoreInsert | CoreUpdate | CoreDelete) and isinstance(statement.table, Table):
            removes_others = isinstance(statement, CoreDelete) and _is_referred_to(statement.table)
            self.table = None if removes_others else statement.table.name
        self._names: list[str] | None = compiled.positiontup if dialect.positional else None
        self._ordered = None if self._names is None else _in_order(self._names)
        self._constants: dict[str, Any] = {
            name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required
        }
        self._repeated: dict[int, tuple[str, list[str]]] = {}
        self._spread: dict[str, tuple[str, int]] = {}

    def then(self, other: _Compiled) -> None:
        """This statement and another one with the same parameters, for one message."""
        text = other.text
        for name, value in other._constants.items():
            text = text.replace(f"%({name})s", f"%(then_{name})s")
            self._constants[f"then_{name}"] = value
        self.text = f"{self.text}; {text}"

    def arguments(self, given: Mapping[str, Any]) -> Any:
        values = {**self._constants, **given} if self._constants else given
        return values if self._ordered is None else self._ordered(values)

    def with_ids(self, dialect: Dialect, name: str, given: dict[str, Any]) -> tuple[str, Any]:
        """The text and the arguments, with the ids in place of their token."""
        spread, values = dialect.spread_ids(given.pop(name))
        if spread is None:
            given[name] = values
            return self.text, self.arguments(given)
        arguments = self.arguments(given)
        if not values:
            return self.text.replace(IDS_TOKEN, spread), arguments
        found = self._spread.get(spread)
        if found is None:
            before, after = self.text.split(IDS_TOKEN)
            found = self._spread[spread] = f"{before}{spread}{after}", before.count("?")
        text, at = found
        return text, (*arguments[:at], *values, *arguments[at:])

    def with_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
        """The text and the arguments of an INSERT of several rows."""
        repeated = self._repeated.get(len(rows))
        if repeated is None:
            named = re.compile(r"%\((\w+)\)s")
            names = named.findall(self.text) if self._names is None else self._names
            match = _ONE_ROW.fullmatch(named.sub("%s", self.text))
            assert match is not None, self.text
            text = match[1] + ", ".join([match[2]] * len(rows)) + (match[3] or "")
            repeated = self._repeated[len(rows)] = text, names
        text, names = repeated
        constants = self._constants
        return text, [row[name] if name in row else constants[name] for row in rows for name in names]


def _is_referred_to(table: Table) -> bool:
    """Whether rows of other tables may be removed with rows of this one."""
    return any(key.column.table is table for other in table.metadata.tables.values() for key in other.foreign_keys)


def _in_order(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """A function that gives the values of these names."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple([values[name] for name in names])


class Statement:
    """A Core statement, ready to run.

    Parameters are the statement's named bind parameters; an ``IdIn`` takes a list of ids.
    """

    __slots__ = ("_compiled", "_ids", "core", "make")

    def __init__(self, core: Any) -> None:
        #: a Core statement, or a function that makes it for a dialect (INSERT … ON CONFLICT differs)
        self.make = core if callable(core) and not isinstance(core, Executable) else None
        self.core: Executable | None = None if self.make else core
        self._compiled: dict[str, _Compiled] = {}
        #: the parameter that takes a list of ids, if there is one
        self._ids: str | None = None if self.core is None else _list_in(self.core)

    def _prepare(self, conn: Connection) -> tuple[_Compiled, Dialect]:
        """The statement in the SQL of the connection's database, and the database; the transaction notes its table."""
        state = context_of(conn)
        dialect = state.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            core = self.core
            if self.make is not None:
                core = self.make(dialect)
                self._ids = _list_in(core)
            compiled = self._compiled[dialect.name] = self._compile(core, dialect, conn.dialect)
        if not compiled.reads and state.transaction is not None:
            state.transaction.note_writing(compiled.table)
        return compiled, dialect

    def _compile(self, core: Any, dialect: Dialect, words: CoreDialect) -> _Compiled:
        return _Compiled(core, words)

    def _written(self, conn: Connection, parameters: dict[str, Any]) -> tuple[str, Any, Dialect]:
        """Text and arguments."""
        compiled, dialect = self._prepare(conn)
        if self._ids is None:
            return compiled.text, compiled.arguments(parameters), dialect
        return *compiled.with_ids(dialect, self._ids, parameters), dialect

    def run(self, conn: Connection, **parameters: Any) -> Any:
        """Execute and return the driver's cursor (for ``rowcount``, ``lastrowid``)."""
        text, arguments, _ = self._written(conn, parameters)
        return execute(conn, text, arguments)

    def all(self, conn: Connection, **parameters: Any) -> list[Row]:
        """All rows, as tuples."""
        return list(self.run(conn, **parameters).fetchall())

    def first(self, conn: Connection, **parameters: Any) -> Row | None:
        """The first row, or None."""
        rows = self.run(conn, **parameters).fetchall()
        return rows[0] if rows else None

    def scalar(self, conn: Connection, **parameters: Any) -> Any:
        """The first value of the first row, or None."""
        row = self.first(conn, **parameters)
        return None if row is None else row[0]

    def count(self, conn: Connection, **parameters: Any) -> int:
        """The number of changed rows."""
        return int(self.run(conn, **parameters).rowcount)

    def many(self, conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute once per row, in as few round trips as the driver can."""
        if not rows:
            return
        compiled, dialect = self._prepare(conn)
        if dialect.joins_rows and 1 < len(rows) <= MAX_ROWS and compiled.is_plain_insert:
            execute(conn, *compiled.with_rows(rows))
        else:
            execute(conn, compiled.text, [compiled.arguments(row) for row in rows], many=True)


def _list_in(core: Any) -> str | None:
    """The parameter of a statement that takes a list of ids."""
    return next((element.name for element in iterate(core) if isinstance(element, IdIn)), None)


def _leave(conn: Connection, gives: OwnRow, rows: list[Row]) -> list[Row]:
    """Keep rows in the transaction, for later reads (``buildbot.db.engine.rows``)."""
    written = transaction_of(conn).written.setdefault(gives.table, {})
    for row in rows:
        written[row[0]] = row
    return rows


class Update(Statement):
    """An UPDATE of rows of one table, which keeps the updated rows in the transaction.

    Args:
        gives: the columns that are kept.
        back: a WHERE clause that finds exactly the updated rows afterwards. Databases without UPDATE … RETURNING select
            by it in the same message.
    """

    __slots__ = ("back", "gives")

    def __init__(self, core: CoreUpdate, gives: OwnRow, back: ColumnElement[bool]) -> None:
        super().__init__(core)
        self.gives = gives
        self.back = back

    def _compile(self, core: Any, dialect: Dialect, words: CoreDialect) -> _Compiled:
        if dialect.returns_updated:
            return super()._compile(core.returning(*self.gives.columns), dialect, words)
        compiled = super()._compile(core, dialect, words)
        compiled.then(_Compiled(select(*self.gives.columns).where(self.back), words))
        return compiled

    def changed(self, conn: Connection, lock: Statement | None = None, /, **parameters: Any) -> list[Row]:
        """The updated rows; none if ``back`` finds more rows.

        ``lock`` is a statement that locks the rows of the ids before it, if the database has to.
        """
        dialect = dialect_of(conn)
        before: tuple[str, Any] | None = None
        if lock is not None and dialect.locks_rows:
            before = lock._written(conn, {"ids": parameters["ids"]})[:2]
        text, arguments, _ = self._written(conn, parameters)
        if dialect.returns_updated:
            cursor = execute(conn, text, arguments) if before is None else execute_after(conn, before, text, arguments)
            return _leave(conn, self.gives, cursor.fetchall())
        if before is not None:
            execute(conn, *before).fetchall()
        count, rows = execute_both(conn, text, arguments)
        return _leave(conn, self.gives, rows) if count == len(rows) else []

    def count(self, conn: Connection, **parameters: Any) -> int:
        """The number of rows of ``changed``."""
        return len(self.changed(conn, **parameters))


class Insert(Statement):
    """An INSERT into a table that generates ids. On databases with RETURNING the columns ``gives`` are kept in the
    transaction.
    """

    __slots__ = ("gives",)

    def __init__(self, core: Any, gives: OwnRow | None = None) -> None:
        super().__init__(core)
        self.gives = gives

    def _given(self, dialect: Dialect) -> OwnRow | None:
        """The columns of the row that the database returns."""
        return self.gives if dialect.returns_inserted else None

    def _compile(self, core: Any, dialect: Dialect, words: CoreDialect) -> _Compiled:
        gives = self._given(dialect)
        if gives is not None:
            core = core.returning(*gives.columns)
        elif dialect.ids_by_returning:
            core = core.returning(*core.table.primary_key.columns)
        return super()._compile(core, dialect, words)

    def id(self, conn: Connection, **parameters: Any) -> int:
        """Execute and return the id of the new row."""
        added = self.id_if_added(conn, **parameters)
        assert added is not None
        return added

    def id_if_added(self, conn: Connection, **parameters: Any) -> int | None:
        """Execute an INSERT … SELECT of at most one row and return the id of that row; None if it added no row."""
        cursor = self.run(conn, **parameters)
        dialect = dialect_of(conn)
        gives = self._given(dialect)
        if gives is not None:
            rows = _leave(conn, gives, cursor.fetchall())
        elif dialect.ids_by_returning:
            rows = cursor.fetchall()
        else:
            return int(cursor.lastrowid) if cursor.rowcount else None
        return int(rows[0][0]) if rows else None

    def id_unless_there(self, conn: Connection, **parameters: Any) -> int | None:
        """Execute an ``insert_or_find`` and return the id of its row; None if the row existed and the database does not
        return its id.
        """
        cursor = self.run(conn, **parameters)
        gives = self._given(dialect_of(conn))
        if gives is None:
            return int(cursor.lastrowid)
        rows = _leave(conn, gives, cursor.fetchall())
        return rows[0][0] if rows else None

    def many_rows(self, conn: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Row] | None:
        """Insert many rows at once, and return them; None on databases without RETURNING."""
        gives = self._given(dialect_of(conn))
        if gives is None:
            self.many(conn, rows)
            return None
        compiled, _ = self._prepare(conn)
        inserted: list[Row] = []
        for start in range(0, len(rows), MAX_ROWS):
            text, arguments = compiled.with_rows(rows[start : start + MAX_ROWS])
            inserted += execute(conn, text, arguments).fetchall()
        return _leave(conn, gives, inserted)


def by_name(columns: Iterable[Any]) -> dict[str, Any]:
    """``{column: bindparam(column)}`` for INSERTs and UPDATEs that set these columns."""
    return {column.name: bindparam(column.name) for column in columns}
