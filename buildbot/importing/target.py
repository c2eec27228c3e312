"""The database that is filled: bulk writes in steps, and the notes that runs keep in it.

A *step* reads some rows of the source and writes the converted rows and its position in one transaction, so that a run
that was killed continues there. A step first runs without savepoints. If the database refuses a write, the step runs
again in *careful* mode: a refused write is halved, with savepoints, until the refused rows are found; these are left
out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Column, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError

from buildbot.db.dialects import dialect_for
from buildbot.db.model import is_current, upgrade
from buildbot.importing.report import LEFT_OUT, ImportRefusedError, LeftOut, Report, message_of, missing
from buildbot.resources import clock, events, metadata, object_state, objects
from buildbot.resources.masters import MASTER
from buildbot.util import checks, jsontext

K = TypeVar("K")
T = TypeVar("T")

#: the most attempts of a step whose transaction fails with transient errors
MAX_ATTEMPTS = 5
#: name and class of the object whose states are the notes of runs
_NAME, _CLASS = "import", "buildbot.importing"
#: errors by which a database refuses a row
_REFUSALS = (IntegrityError, DataError, NotSupportedError)
_masters = MASTER.table


class Step:
    """The transaction of a step.

    Args:
        target: the database.
        conn: its connection, in the transaction.
        careful: whether writes use savepoints, and refused rows are left out.

    Attributes:
        rows: the number of written rows by table.
    """

    def __init__(self, target: Target, conn: Connection, careful: bool) -> None:
        self.conn = conn
        self.rows: dict[str, int] = {}
        self._left_out: dict[str, LeftOut] = {}
        self._notes: dict[str, Any] = {}
        self._target = target
        self._careful = careful

    def insert(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], source: str, ids: Sequence[Any]
    ) -> None:
        """Insert rows.

        Args:
            columns: the columns of the rows' values.
            rows: the values.
            source: the name of the source's table that they come from.
            ids: for each row, what finds it in the source.
        """
        if rows:
            self._insert(table, columns, rows, source, ids)

    def _insert(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], source: str, ids: Sequence[Any]
    ) -> None:
        insert_many = self._target.dialect.insert_many
        if not self._careful:
            insert_many(self.conn, table, columns, rows)
        else:
            savepoint = self.conn.begin_nested()
            try:
                insert_many(self.conn, table, columns, rows)
            except _REFUSALS as error:
                savepoint.rollback()
                if len(rows) == 1:
                    self.leave_out(source, ids[0], self._reason(table, dict(zip(columns, rows[0], strict=True)), error))
                    return
                middle = len(rows) // 2
                for part in (slice(middle), slice(middle, None)):
                    self._insert(table, columns, rows[part], source, ids[part])
                return
            savepoint.commit()
        self.count(table, len(rows))

    def put(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], source: str, ids: Sequence[Any]
    ) -> None:
        """Insert the rows of a small table that the target lacks, and change those that differ; arguments as `insert`.

        The first of ``columns`` are the table's primary key. A row of the target that was added there since the last
        run stays; a row of the source with the same id is left out.
        """
        width = len(table.primary_key.columns)
        known = f"known {table.name}"
        there = {
            tuple(row[:width]): tuple(row) for row in self.conn.execute(select(*(table.c[name] for name in columns)))
        }
        if width == 1:
            last = int(self._target.notes.get(known, 0))
            taken = {place for place, row in enumerate(rows) if row[0] > last and row[:1] in there}
            for place in taken:
                self.leave_out(source, ids[place], f"the database has {table.name} {rows[place][0]} of its own")
            ids = [each for place, each in enumerate(ids) if place not in taken]
            rows = [row for place, row in enumerate(rows) if place not in taken]
            self.note(known, max((last, *(row[0] for row in rows))))
        new = [place for place, row in enumerate(rows) if row[:width] not in there]
        changed = [place for place, row in enumerate(rows) if row[:width] in there and row != there[row[:width]]]
        here = [table.c[name] == bindparam(f"this_{name}") for name in columns[:width]]
        statement = update(table).where(*here).values({name: bindparam(f"new_{name}") for name in columns[width:]})
        for place in changed:
            row = rows[place]
            values = {f"this_{name}": value for name, value in zip(columns[:width], row[:width], strict=True)}
            values |= {f"new_{name}": value for name, value in zip(columns[width:], row[width:], strict=True)}
            self._change(table, statement, values, dict(zip(columns, row, strict=True)), source, ids[place])
        self.insert(table, columns, [rows[place] for place in new], source, [ids[place] for place in new])

    def change(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], source: str, ids: Sequence[Any]
    ) -> None:
        """Update rows, which the first of ``columns`` finds; arguments as `insert`."""
        statement = (
            update(table)
            .where(table.c[columns[0]] == bindparam("this"))
            .values({name: bindparam(f"new_{name}") for name in columns[1:]})
        )
        for row, identifier in zip(rows, ids, strict=True):
            values = {
                "this": row[0],
                **{f"new_{name}": value for name, value in zip(columns[1:], row[1:], strict=True)},
            }
            self._change(table, statement, values, dict(zip(columns, row, strict=True)), source, identifier)

    def replace(self, table: Table, parent: Column[Any], ids: Sequence[Any]) -> None:
        """Delete the rows of parents with these ids; the caller inserts them again."""
        self.conn.execute(delete(table).where(parent.in_(ids)))

    def named(self, table: Table, names: Sequence[str]) -> dict[str, int]:
        """The ids of rows by their names; missing rows are inserted."""
        hashes = {checks.name_hash(name): name for name in names}
        found = self._find(table.c.name_hash, hashes)
        new = [(name, digest) for digest, name in hashes.items() if name not in found]
        if new:
            self._target.dialect.insert_many(self.conn, table, ("name", "name_hash"), new)
            found |= self._find(table.c.name_hash, {digest: name for name, digest in new})
        return found

    def objects(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The ids of objects by name and class; missing objects are inserted."""
        hashes = {checks.name_hash(*each): each for each in sorted(wanted)}
        found = self._find(objects.c.object_hash, hashes)
        new = [(*each, digest) for digest, each in hashes.items() if each not in found]
        if new:
            self._target.dialect.insert_many(self.conn, objects, ("name", "class_name", "object_hash"), new)
            found |= self._find(objects.c.object_hash, {digest: (name, kind) for name, kind, digest in new})
        return found

    def _find(self, column: Column[Any], hashes: Mapping[str, K]) -> dict[K, int]:
        statement = select(column, column.table.c.id).where(column.in_(bindparam("them", expanding=True)))
        found = {}
        listed = list(hashes)
        for start in range(0, len(listed), 500):
            for digest, number in self.conn.execute(statement, {"them": listed[start : start + 500]}):
                found[hashes[digest]] = int(number)
        return found

    def _change(
        self, table: Table, statement: Any, values: dict[str, Any], row: dict[str, Any], source: str, identifier: Any
    ) -> None:
        if self._careful:
            savepoint = self.conn.begin_nested()
            try:
                self.conn.execute(statement, values)
            except _REFUSALS as error:
                savepoint.rollback()
                self.leave_out(source, identifier, self._reason(table, row, error))
                return
            savepoint.commit()
        else:
            self.conn.execute(statement, values)
        self.count(table, 1)

    def count(self, table: Table, rows: int) -> None:
        """Add to the number of written rows of a table."""
        self.rows[table.name] = self.rows.get(table.name, 0) + rows

    def _reason(self, table: Table, row: Mapping[str, Any], error: DBAPIError) -> str:
        """The reason why the database refused a row."""
        for key in table.foreign_keys:
            value = row.get(key.parent.name)
            if value is not None and self.conn.scalar(select(key.column).where(key.column == value)) is None:
                return missing(key.parent.name, value)
        if self._target.dialect.is_unique_violation(error):
            names = [name for name in ("name", "slug", "number", "revision", "identifier", "attr_data") if name in row]
            said = ", ".join(f"{name} {row[name]!r}" for name in names)
            return f"another row has the same {said}" if said else "another row has the same key"
        return f"the database refuses it: {message_of(error)}"

    def leave_out(self, table: str, row: Any, reason: str) -> None:
        """Remember a row of the source that was left out; the reasons of several calls are joined."""
        left = LeftOut(table, str(row), reason)
        earlier = self._left_out.get(left.key)
        self._left_out[left.key] = left if earlier is None else left._replace(reason=f"{earlier.reason}; {reason}")

    def note(self, key: str, value: Any) -> None:
        """Remember a JSON value for later runs."""
        self._notes[key] = value

    def finish(self) -> tuple[list[LeftOut], dict[str, Any]]:
        """Write the notes of the step, if the target keeps notes (`Target.begin`).

        Returns:
            The rows that no earlier run left out, and all new notes.
        """
        new = {key: each for key, each in self._left_out.items() if key not in self._target.notes}
        notes = {**self._notes, **{key: each.reason for key, each in new.items()}}
        if notes and self._target.remembers:
            self._target.write_notes(self.conn, notes)
        return list(new.values()), notes


class Target:
    """A database of Tenfold that is being filled.

    Args:
        db_url: its URL.
        basedir: the directory for relative SQLite paths; None: the current directory.

    Attributes:
        dialect: the dialect of the database.
        conn: its only connection.
        notes: the notes of all runs, by key; see `Step.note`.
        report: the report of this run.
    """

    def __init__(self, db_url: str, basedir: str | None = None) -> None:
        self.dialect = dialect_for(db_url, basedir)
        self.engine = self.dialect.create_engine()
        self.conn: Connection
        self.notes: dict[str, Any] = {}
        self.report = Report()
        self._objectid: int | None = None

    @contextmanager
    def opened(self, remembers: bool = True) -> Iterator[None]:
        """Bring the schema up to date and connect; disconnect at the end of the block.

        Args:
            remembers: whether to read the notes of earlier runs.
        """
        try:
            if not is_current(self.engine):
                upgrade(self.engine)
            with self.engine.connect() as self.conn, self.dialect.unhurried(self.conn):
                if remembers:
                    self._read_notes()
                    self.conn.commit()
                yield
                self.conn.rollback()
        finally:
            self.engine.dispose()

    # notes of runs

    @property
    def remembers(self) -> bool:
        """Whether the database keeps notes."""
        return self._objectid is not None

    def begin(self) -> None:
        """Make the object whose states are the notes, if it does not exist."""
        self.step(self._make_object)

    def _make_object(self, step: Step) -> None:
        if self._objectid is None:
            digest = checks.name_hash(_NAME, _CLASS)
            step.conn.execute(insert(objects).values(name=_NAME, class_name=_CLASS, object_hash=digest))
            self._read_notes()

    def _read_notes(self) -> None:
        digest = checks.name_hash(_NAME, _CLASS)
        self._objectid = self.conn.scalar(select(objects.c.id).where(objects.c.object_hash == digest))
        here = object_state.c.objectid == self._objectid
        rows = self.conn.execute(select(object_state.c.name, object_state.c.value_json).where(here))
        self.notes = {name: jsontext.loads(value) for name, value in rows}

    def write_notes(self, conn: Connection, notes: Mapping[str, Any]) -> None:
        """Store the notes of a step."""
        here = (object_state.c.objectid == bindparam("oid"), object_state.c.name_hash == bindparam("hash"))
        change = update(object_state).where(*here).values(value_json=bindparam("value"))
        new = []
        for key, value in notes.items():
            row = (self._objectid, checks.name_hash(key), key, jsontext.dumps(value))
            if key in self.notes:
                conn.execute(change, {"oid": row[0], "hash": row[1], "value": row[3]})
            else:
                new.append(row)
        if new:
            self.dialect.insert_many(conn, object_state, ("objectid", "name_hash", "name", "value_json"), new)

    def left_out(self) -> list[LeftOut]:
        """The rows that all runs so far have left out, from the notes."""
        return [LeftOut.of(key, reason) for key, reason in self.notes.items() if key.startswith(LEFT_OUT)]

    # checks

    def occupied(self) -> str | None:
        """The tables with rows, and the numbers of rows; None if all are empty. Masters that never ran do not count."""
        held = []
        for table in metadata.sorted_tables:
            if table in (clock, events, object_state):
                continue
            rows = select(func.count()).select_from(table)
            if table is _masters:
                rows = rows.where((_masters.c.epoch > 0) | (_masters.c.active == 1))
            elif table is objects:
                rows = rows.where(objects.c.class_name != _CLASS)
            count = self.conn.scalar(rows)
            if count:
                held.append(f"{table.name} ({count:,})")
        self.conn.commit()
        return ", ".join(held) if held else None

    def used_by(self) -> str | None:
        """The name of a master that has run on this database; None if there is none."""
        ran = select(_masters.c.name).where((_masters.c.epoch > 0) | (_masters.c.active == 1)).limit(1)
        name: str | None = self.conn.scalar(ran)
        self.conn.commit()
        return name

    # steps

    def step(self, work: Callable[[Step], T]) -> T:
        """Run ``work(step)`` in a transaction, and return its result. After an error it may run again.

        Raises:
            ImportRefusedError: the database cannot be written; the rows of earlier steps remain.
        """
        careful = False
        for attempt in range(1, MAX_ATTEMPTS + 1):
            step = Step(self, self.conn, careful)
            self.conn.rollback()
            self.conn.begin()  # statements that bypass SQLAlchemy begin no transaction
            try:
                result = work(step)
                new, notes = step.finish()
                self.conn.commit()
            except DBAPIError as error:
                if self.dialect.is_disconnect(error):
                    raise ImportRefusedError(
                        f"the connection to the database that is filled was lost ({message_of(error)}); run this again"
                    ) from error
                self.conn.rollback()
                if isinstance(error, _REFUSALS) and not careful:
                    careful = True
                elif self.dialect.is_transient(error) and attempt < MAX_ATTEMPTS:
                    time.sleep(0.1 * attempt)
                else:
                    reason = (
                        self.dialect.explain_failure(error) or f"the database cannot be written: {message_of(error)}"
                    )
                    raise ImportRefusedError(
                        f"{reason}; the rows that were written are kept: run this again"
                    ) from error
            except BaseException:
                self.conn.rollback()
                raise
            else:
                self.notes.update(notes)
                self.report.rows.update(step.rows)
                self.report.left_out += new
                return result
        raise AssertionError("the last attempt returns or raises")

    def wait_for_disk(self, wait: bool) -> None:
        """Set whether a commit waits for the disk; see `Dialect.wait_for_disk`."""
        self.conn.rollback()
        self.dialect.wait_for_disk(self.conn, wait)

    def after_all(self, last_ids: Mapping[Table, int] | None = None) -> None:
        """Update the planner's statistics; reserve ids up to these, by table, so that new rows get higher ones."""
        for table, last in (last_ids or {}).items():
            with self.conn.begin():
                self.dialect.skip_ids(self.conn, table, last)
        with self.conn.begin():
            self.dialect.analyze(self.conn, list(metadata.sorted_tables))
