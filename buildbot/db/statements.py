"""Statements compiled once per database and run on the driver's own cursor.

SQLAlchemy Core says what a statement is; on hot paths its compilation cache and result objects would cost more than
the query. A ``Statement`` keeps the compiled text and the order of its parameters, and gives plain tuples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Select
from sqlalchemy.engine import Connection
from sqlalchemy.engine import Dialect as CoreDialect
from sqlalchemy.sql import Executable
from sqlalchemy.sql.visitors import iterate

from buildbot.db.dialects.base import Dialect
from buildbot.db.dialects.driver import wrapped
from buildbot.db.dialects.expressions import IDS_TOKEN, IdIn

Row = tuple[Any, ...]

#: where a connection's ``info`` holds the transaction that it is in (``buildbot.db.pool.Transaction``)
TRANSACTION = "tenfold_transaction"


class _Compiled:
    """One statement in one database's words."""

    __slots__ = ("constants", "names", "reads", "text")

    def __init__(self, statement: Executable, dialect: CoreDialect) -> None:
        # no columns but those that the statement names itself
        compiled = statement.compile(dialect=dialect, column_keys=[])  # type: ignore[attr-defined]
        self.text = str(compiled)
        self.reads = isinstance(statement, Select)
        names = compiled.positiontup if dialect.positional else None
        self.names: list[str] | None = names
        self.constants: dict[str, Any] = {
            name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required
        }

    def arguments(self, given: Mapping[str, Any]) -> Any:
        values = {**self.constants, **given} if self.constants else given
        if self.names is None:
            return values
        return [values[name] for name in self.names]

    def with_ids(self, dialect: Dialect, name: str, given: dict[str, Any]) -> tuple[str, Any]:
        """The text and the arguments, with ids in their place."""
        spread, values = dialect.spread_ids(given.pop(name))
        if spread is None:
            return self.text, self.arguments({**given, name: values})
        before, after = self.text.split(IDS_TOKEN)
        arguments = self.arguments(given)
        if values:
            at = before.count("?")
            arguments[at:at] = values
        return f"{before}{spread}{after}", arguments


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
        lists = [] if self.core is None else [e.name for e in iterate(self.core) if isinstance(e, IdIn)]
        #: the parameter that takes a list of ids, if there is one
        self._ids: str | None = lists[0] if lists else None

    def _for(self, conn: Connection) -> _Compiled:
        name = conn.dialect.name
        compiled = self._compiled.get(name)
        if compiled is None:
            core = self.core
            if core is None:
                assert self.make is not None
                core = self.make(dialect_of(conn))
            compiled = self._compiled[name] = _Compiled(core, conn.dialect)
        return compiled

    def run(self, conn: Connection, **parameters: Any) -> Any:
        """Execute and return the driver's cursor (for ``rowcount``, ``lastrowid``)."""
        compiled = self._for(conn)
        if self._ids is None:
            text, arguments = compiled.text, compiled.arguments(parameters)
        else:
            text, arguments = compiled.with_ids(dialect_of(conn), self._ids, parameters)
        cursor = conn.connection.cursor()
        _note(conn, compiled)
        try:
            cursor.execute(text, arguments)
        except Exception as error:
            raise wrapped(conn, text, arguments, error) from error
        return cursor

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
        """How many rows it changed."""
        return int(self.run(conn, **parameters).rowcount)

    def many(self, conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute once per row, in as few round trips as the driver can."""
        if not rows:
            return
        compiled = self._for(conn)
        cursor = conn.connection.cursor()
        arguments = [compiled.arguments(row) for row in rows]
        _note(conn, compiled)
        try:
            cursor.executemany(compiled.text, arguments)
        except Exception as error:
            raise wrapped(conn, compiled.text, arguments, error) from error


class Insert(Statement):
    """An INSERT of one row into a table that counts its ids."""

    __slots__ = ("_returning",)

    def __init__(self, core: Any) -> None:
        super().__init__(core)
        self._returning: dict[str, _Compiled] = {}

    def id(self, conn: Connection, **parameters: Any) -> int:
        """Execute and return the id given to the row."""
        if dialect_of(conn).ids_by_returning:
            compiled = self._returning.get(conn.dialect.name)
            if compiled is None:
                assert self.core is not None
                key = next(iter(self.core.table.primary_key.columns))  # type: ignore[attr-defined]
                compiled = self._returning[conn.dialect.name] = _Compiled(
                    self.core.returning(key),  # type: ignore[attr-defined]
                    conn.dialect,
                )
            cursor = conn.connection.cursor()
            _note(conn, compiled)
            try:
                cursor.execute(compiled.text, compiled.arguments(parameters))
                return int(cursor.fetchall()[0][0])
            except Exception as error:
                raise wrapped(conn, compiled.text, parameters, error) from error
        return int(self.run(conn, **parameters).lastrowid)


def dialect_of(conn: Connection) -> Dialect:
    """The answers of the database behind a connection."""
    return conn.get_execution_options()["tenfold_dialect"]  # type: ignore[no-any-return]


def _note(conn: Connection, compiled: _Compiled) -> None:
    counter = conn.get_execution_options().get("tenfold_counter")
    if counter is not None:
        counter.statements += 1
    if not compiled.reads:
        transaction = conn.info.get(TRANSACTION)
        if transaction is not None:
            transaction.wrote = True


def by_name(columns: Iterable[Any]) -> dict[str, Any]:
    """``{column: bindparam(column)}`` for INSERTs and UPDATEs that set these columns."""
    from sqlalchemy import bindparam

    return {column.name: bindparam(column.name) for column in columns}
