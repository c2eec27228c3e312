"""A copy of a Tenfold database in another one, of the same kind or not: all rows, the log of events and the clock.

**Method.** Both databases are read table by table, a page at a time by primary key, and compared: rows that the copy
lacks are inserted, different rows are changed, rows that only the copy has are removed. So a first copy, one that
continues after it was killed, and a repeated one are the same work, without any stored position. At last all rows are
compared once more.

**Allowed targets.** Only an empty database, or a copy on which no master has run. A mark in the copy says which it is:
an object with an id that no other object gets. The clock is written last: until then no client can continue with the
copy.

Masters must not run on either database meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Table, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from buildbot.db.dialects import dialect_for
from buildbot.db.model import is_current
from buildbot.importing.report import ImportRefusedError, Progress, Report, message_of
from buildbot.importing.target import Step, Target
from buildbot.resources import clock, metadata, object_state, objects
from buildbot.resources.base import Blob
from buildbot.resources.masters import MASTER
from buildbot.util import checks, jsontext

Row = tuple[Any, ...]

#: the rows of a page, of tables with binary data and of others
_FEW, _MANY = 32, 2000
#: id, name and class of the object that marks a copy, and the key of its state
_MARK, _NAME, _CLASS, _KEY = -1, "copy-db", "buildbot.importing", "clock"
_masters = MASTER.table


class Original:
    """The database that is copied; it is only read. The arguments are those of `Target`."""

    def __init__(self, db_url: str, basedir: str | None = None) -> None:
        self.dialect = dialect_for(db_url, basedir)
        self._engine = self.dialect.create_reading_engine()
        self.conn: Connection

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Connect; disconnect at the end of the block.

        Raises:
            ImportRefusedError: it cannot be read, or its schema is not that of this version.
        """
        try:
            try:
                current = is_current(self._engine)
                if current:
                    with self._engine.connect() as self.conn:
                        yield
            except DBAPIError as error:
                raise ImportRefusedError(f"{self.name} cannot be read: {message_of(error)}") from error
            if not current:
                raise ImportRefusedError(
                    f"{self.name} does not have the schema of this version; bring it up to date first:"
                    " buildbot upgrade-master"
                )
        finally:
            self._engine.dispose()

    @property
    def name(self) -> str:
        """Its URL without the password."""
        return self.dialect.url.render_as_string(hide_password=True)


class Copy:
    """One run of a copy.

    Args:
        source, target: the databases, both opened.
        progress: reports the progress.
        most: the most rows that one transaction copies.
    """

    def __init__(self, source: Original, target: Target, progress: Progress, most: int = _MANY) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._most = most
        self._tables = [table for table in metadata.sorted_tables if table is not clock]

    def run(self) -> Report:
        """Make the target equal to the source.

        Raises:
            ImportRefusedError: a master uses one of them, or the target is neither empty nor a copy.
        """
        target = self._target
        moment = self._clock(self._source.conn)
        there = self._check()
        target.step(partial(self._mark, None))
        rows = sum(self._count(table) for table in self._tables)
        self._progress.expect((3 if there else 2) * rows)
        target.wait_for_disk(False)
        for table in reversed(self._tables) if there else ():
            self._pass(table, self._remove_from_page)
        for table in self._tables:
            self._pass(table, self._copy_page)
        target.wait_for_disk(True)
        target.after_all({table: self._last_id(table) for table in self._tables if _has_numbers(table)})
        for table in self._tables:
            self._pass(table, self._verify_page)
        if self._clock(self._source.conn) != moment:
            raise ImportRefusedError("the source was changed during the copy; run this again")
        report = target.report
        if not report.left_out:
            target.step(partial(self._set_clock, moment))
            report.notes = [f"Compared row by row: {rows:,} rows are equal, and so is the clock ({moment[0]})."]
        report.seconds = self._progress.seconds
        return report

    # checks

    def _check(self) -> bool:
        """Whether the target has rows of an earlier run; ImportRefusedError if the copy is not allowed."""
        for what, database in (("copied", self._source), ("filled", self._target)):
            active = database.conn.scalar(select(_masters.c.name).where(_masters.c.active == 1).limit(1))
            database.conn.rollback()
            if active is not None:
                raise ImportRefusedError(
                    f"the master {active!r} runs on the database that is {what}; stop it, or, if it was killed, start"
                    " and stop it"
                )
        marked = self._target.conn.scalar(
            select(object_state.c.value_json).where(
                object_state.c.objectid == _MARK, object_state.c.name_hash == checks.name_hash(_KEY)
            )
        )
        if marked is None:
            held = self._target.occupied()
            if held is not None:
                raise ImportRefusedError(f"the database is not empty, it has: {held}. A copy needs an empty one")
            return bool(self._target.conn.scalar(select(func.count()).select_from(_masters)))
        complete = jsontext.loads(marked)
        if complete is not None and self._clock(self._target.conn)[0] != complete:
            raise ImportRefusedError("a master has changed the copy since it was made; it is not overwritten")
        return True

    @staticmethod
    def _clock(conn: Connection) -> tuple[int, int]:
        row = conn.execute(select(clock.c.seq, clock.c.trimmed)).one()
        conn.rollback()
        return int(row[0]), int(row[1])

    def _count(self, table: Table) -> int:
        found = int(self._source.conn.scalar(select(func.count()).select_from(table)) or 0)
        self._source.conn.rollback()
        return found

    def _last_id(self, table: Table) -> int:
        last = self._source.dialect.last_id(self._source.conn, table)
        self._source.conn.rollback()
        return last

    # the mark and the clock

    def _mark(self, complete: int | None, step: Step) -> None:
        """Mark the target as a copy, with the clock of the source; None: the copy is not complete."""
        here = (object_state.c.objectid == _MARK, object_state.c.name_hash == checks.name_hash(_KEY))
        if step.conn.scalar(select(objects.c.id).where(objects.c.id == _MARK)) is None:
            digest = checks.name_hash(_NAME, _CLASS)
            step.conn.execute(insert(objects).values(id=_MARK, name=_NAME, class_name=_CLASS, object_hash=digest))
            row = {"objectid": _MARK, "name_hash": checks.name_hash(_KEY), "name": _KEY, "value_json": "null"}
            step.conn.execute(insert(object_state).values(row))
        step.conn.execute(update(object_state).where(*here).values(value_json=jsontext.dumps(complete)))

    def _set_clock(self, moment: tuple[int, int], step: Step) -> None:
        self._mark(moment[0], step)
        step.conn.execute(update(clock).values(seq=moment[0], trimmed=moment[1]))

    # pages

    def _pass(self, table: Table, work: Any) -> None:
        """Call ``work`` for each page of a table of the source, with the range of keys that it covers."""
        after: Row | None = None
        size = min(_FEW, self._most) if any(isinstance(each.type, Blob) for each in table.columns) else self._most
        while True:
            rows = self._page(self._source.conn, table, after, None, size)
            upto = rows[-1][: _width(table)] if len(rows) == size else None
            if rows or work != self._copy_page:
                self._target.step(partial(work, table, rows, after, upto))
            self._progress.step(len(rows), table.name, self._target.report.total)
            if upto is None:
                return
            after = upto

    def _page(self, conn: Connection, table: Table, after: Row | None, upto: Row | None, size: int | None) -> list[Row]:
        keys = list(table.primary_key.columns)
        statement = select(*_columns(table)).order_by(*keys)
        if after is not None:
            statement = statement.where(_beyond(keys, after))
        if upto is not None:
            statement = statement.where(_up_to(keys, upto))
        if table is objects:
            statement = statement.where(objects.c.id != _MARK)
        if table is object_state:
            statement = statement.where(object_state.c.objectid != _MARK)
        if size is not None:
            statement = statement.limit(size)
        rows = [tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
                for row in conn.execute(statement)]  # fmt: skip
        if conn is self._source.conn:
            conn.rollback()
        return rows

    def _differences(
        self, step: Step, table: Table, rows: Sequence[Row], after: Row | None, upto: Row | None
    ) -> tuple[list[Row], list[Row], list[Row]]:
        """Rows that the target lacks, rows that differ there, and the keys of rows that only the target has."""
        width = _width(table)
        there = {row[:width]: row for row in self._page(step.conn, table, after, upto, None)}
        missing, different = [], []
        for row in rows:
            found = there.pop(row[:width], None)
            if found is None:
                missing.append(row)
            elif found != row:
                different.append(row)
        return missing, different, list(there)

    def _remove_from_page(
        self, table: Table, rows: Sequence[Row], after: Row | None, upto: Row | None, step: Step
    ) -> None:
        keys = list(table.primary_key.columns)
        _, _, more = self._differences(step, table, rows, after, upto)
        for start in range(0, len(more), 200):
            step.conn.execute(delete(table).where(or_(*(_is(keys, key) for key in more[start : start + 200]))))
        step.count(table, len(more))

    def _copy_page(self, table: Table, rows: Sequence[Row], after: Row | None, upto: Row | None, step: Step) -> None:
        missing, different, _ = self._differences(step, table, rows, after, upto)
        names = [column.name for column in _columns(table)]
        keys = list(table.primary_key.columns)
        if different:
            statement = (
                update(table)
                .where(*(key == bindparam(f"this_{key.name}") for key in keys))
                .values({name: bindparam(f"new_{name}") for name in names[len(keys) :]})
            )
            for row in different:
                values: Mapping[str, Any] = {
                    f"{'this' if place < len(keys) else 'new'}_{name}": value
                    for place, (name, value) in enumerate(zip(names, row, strict=True))
                }
                step.conn.execute(statement, values)
            step.count(table, len(different))
        step.insert(table, names, missing, table.name, [_named(row[: len(keys)]) for row in missing])

    def _verify_page(self, table: Table, rows: Sequence[Row], after: Row | None, upto: Row | None, step: Step) -> None:
        missing, different, more = self._differences(step, table, rows, after, upto)
        width = _width(table)
        for what, found in (("it is missing in", missing), ("it differs in", different), ("it exists only in", more)):
            for row in found:
                step.leave_out(table.name, _named(row[:width]), f"{what} the copy")


def _named(key: Row) -> str:
    return " ".join(map(str, key))


def _width(table: Table) -> int:
    return len(table.primary_key.columns)


def _columns(table: Table) -> list[Any]:
    keys = list(table.primary_key.columns)
    return [*keys, *(column for column in table.columns if column not in set(keys))]


def _has_numbers(table: Table) -> bool:
    keys = list(table.primary_key.columns)
    return len(keys) == 1 and keys[0].autoincrement is True


def _beyond(keys: Sequence[Any], values: Row) -> Any:
    """A condition that a row's key is above these values, in a form for which all databases use the index."""
    first, value = keys[0], values[0]
    if len(keys) == 1:
        return first > value
    return and_(first >= value, or_(first > value, _beyond(keys[1:], values[1:])))


def _up_to(keys: Sequence[Any], values: Row) -> Any:
    """A condition that a row's key is at most these values."""
    first, value = keys[0], values[0]
    if len(keys) == 1:
        return first <= value
    return and_(first <= value, or_(first < value, _up_to(keys[1:], values[1:])))


def _is(keys: Sequence[Any], values: Row) -> Any:
    return and_(*(key == value for key, value in zip(keys, values, strict=True)))
