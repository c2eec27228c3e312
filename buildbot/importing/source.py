"""The database that is imported, read in pages of rows by their ids, with the rows that belong to them.

Nothing is locked and no transaction is held, so the old master may write meanwhile. A run reads up to the highest ids
at its beginning (`Source.bounds`). These are asked for in the reverse order of references, so that a row that is read
never refers to a row beyond the bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, TableClause, bindparam, func, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Select

from buildbot.db.dialects import dialect_for
from buildbot.importing import upstream
from buildbot.importing.report import ImportRefusedError, message_of

Row = Sequence[Any]

#: the number of failed reads of a table after which the rest of its page is given up
MAX_FAILURES = 500
#: the most values in the IN of one statement
_MANY = 500


@dataclass
class Page:
    """The rows of a table with ids above ``after``, up to and including ``last``."""

    after: int
    last: int
    rows: list[Row]
    #: ranges of ids that the database cannot read: (first, last)
    unreadable: list[tuple[int, int]] = field(default_factory=list)


class DamagedSourceError(Exception):
    """The database cannot read some rows; the message is its own."""


class Source:
    """A database of Buildbot.

    Args:
        db_url: its URL.

    Attributes:
        version: the version of its schema.
    """

    def __init__(self, db_url: str) -> None:
        self.dialect = dialect_for(db_url)
        self.engine = self.dialect.create_reading_engine()
        self.conn: Connection
        self.version = ""
        self._failures: dict[str, int] = {}
        self._statements: dict[tuple[str, ...], Select[Any]] = {}

    @property
    def name(self) -> str:
        """Its URL without the password."""
        return self.dialect.url.render_as_string(hide_password=True)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Connect and read the version; disconnect at the end of the block.

        Raises:
            ImportRefusedError: it cannot be read, or is no database of Buildbot 4.
        """
        try:
            try:
                with self.engine.connect() as self.conn:
                    self.version = self._version()
                    yield
            except DBAPIError as error:
                raise ImportRefusedError(f"{self.name} cannot be read: {message_of(error)}") from error
            except DamagedSourceError as error:
                raise ImportRefusedError(
                    f"{self.name} is damaged in rows that cannot be left out: {error}; repair or restore it first"
                ) from error
        finally:
            self.engine.dispose()

    def _version(self) -> str:
        if not inspect(self.conn).has_table(upstream.alembic_version.name):
            raise ImportRefusedError(
                f"{self.name} is no database of Buildbot 4: it has no table alembic_version. Older ones have to be"
                " upgraded first: install Buildbot 4.3 and run its 'buildbot upgrade-master'"
            )
        if inspect(self.conn).has_table("sourcestampsets") and inspect(self.conn).has_table("clock"):
            raise ImportRefusedError(
                f"{self.name} is a database of Tenfold; copy it to another one with: buildbot copy-db"
            )
        found = self.conn.scalars(select(upstream.alembic_version.c.version_num)).all()
        version = str(found[0]) if len(found) == 1 else ""
        if version in upstream.VERSIONS:
            return version
        known = " and ".join(upstream.VERSIONS)
        if version.isdigit() and version < upstream.VERSIONS[0]:
            raise ImportRefusedError(
                f"{self.name} has version {version} of Buildbot's schema; {known} can be read. Upgrade it first:"
                " install Buildbot 4.3 and run its 'buildbot upgrade-master'"
            )
        raise ImportRefusedError(
            f"{self.name} has version {version or found!r} of Buildbot's schema, which is unknown; {known} can be read"
        )

    def bounds(self, tables: Sequence[TableClause]) -> dict[str, int]:
        """The highest ids of tables by name, asked for in this order; 0 if a table is empty."""
        return {table.name: int(self.conn.scalar(select(func.max(_key(table)))) or 0) for table in tables}

    def page(self, table: TableClause, after: int, upto: int, size: int) -> Page:
        """At most ``size`` rows with ids above ``after`` and up to ``upto``, ordered by id."""
        key = _key(table)
        try:
            rows = self._ask((table.name, "page"), lambda: (
                select(table).where(key > bindparam("after"), key <= bindparam("upto")).order_by(key)
                .limit(bindparam("size"))
            ), after=after, upto=upto, size=size)  # fmt: skip
        except DamagedSourceError:
            return self._readable(table, key, after, min(after + size, upto))
        return Page(after, int(rows[-1][0]) if len(rows) == size else upto, rows)

    def children(self, table: TableClause, parent: ColumnElement[Any], after: int, upto: int) -> Page:
        """The rows whose parents have ids above ``after`` and up to ``upto``, ordered by these."""
        try:
            return Page(after, upto, self._range(table, parent, after, upto))
        except DamagedSourceError:
            return self._readable(table, parent, after, upto)

    def _range(self, table: TableClause, column: ColumnElement[Any], after: int, upto: int) -> list[Row]:
        return self._ask(
            (table.name, column.key or "", "range"),
            lambda: select(table).where(column > bindparam("after"), column <= bindparam("upto")).order_by(column),
            after=after, upto=upto,
        )  # fmt: skip

    def _readable(self, table: TableClause, column: ColumnElement[Any], after: int, upto: int) -> Page:
        """The readable rows of a range that contains unreadable rows."""
        page = Page(after, upto, [])
        ranges = [(after + 1, upto)]
        while ranges:
            first, last = ranges.pop()
            try:
                page.rows += self._range(table, column, first - 1, last)
                continue
            except DamagedSourceError:
                failures = self._failures[table.name] = self._failures.get(table.name, 0) + 1
            if first == last or failures > MAX_FAILURES:
                page.unreadable.append((first, last))
            else:
                middle = (first + last) // 2
                ranges += [(middle + 1, last), (first, middle)]
        return page

    def orphans(self, table: TableClause, column: ColumnElement[Any], parent: TableClause, after: int) -> list[Row]:
        """The rows whose parent's id is above ``after`` and exists in no row of ``parent``."""
        key = _key(parent)
        return self.ask(
            select(table).where(column > after, ~select(key).where(key == column).exists()).order_by(column)
        )

    def of(self, table: TableClause, column: ColumnElement[Any], values: Sequence[Any]) -> list[Row]:
        """The rows with one of these values in a column, ordered by the table's first column."""
        rows: list[Row] = []
        for start in range(0, len(values), _MANY):
            rows += self._ask(
                (table.name, column.key or "", "of"),
                lambda: (
                    select(table).where(column.in_(bindparam("them", expanding=True))).order_by(table.columns[0])
                ),
                them=list(values[start : start + _MANY]),
            )  # fmt: skip
        return rows

    def all(self, table: TableClause) -> list[Row]:
        """All rows of a small table, ordered by its first column."""
        return self._ask((table.name, "all"), lambda: select(table).order_by(table.columns[0]))

    def ask(self, statement: Select[Any], **values: Any) -> list[Row]:
        """The rows of a statement.

        Raises:
            DamagedSourceError: the database cannot read some of them.
            ImportRefusedError: the connection is lost, or the database is busy.
        """
        try:
            return list(self.conn.execute(statement, values))
        except DBAPIError as error:
            said = message_of(error)
            if self.dialect.is_disconnect(error) or self.dialect.is_transient(error):
                raise ImportRefusedError(f"{self.name} does not answer any more ({said}); run this again") from error
            raise DamagedSourceError(said) from error

    def has_codebases(self) -> bool:
        """Whether its schema has the tables of codebases."""
        return self.version == upstream.WITH_CODEBASES

    def _ask(self, name: tuple[str, ...], make: Callable[[], Select[Any]], **values: Any) -> list[Row]:
        statement = self._statements.get(name)
        if statement is None:
            statement = self._statements[name] = make()
        return self.ask(statement, **values)


def _key(table: TableClause) -> ColumnElement[Any]:
    return next(iter(table.columns))
