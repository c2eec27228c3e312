"""Reads of SQLite on the reactor's thread: bounded, fair to all else, and never waiting."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.db.dialects import dialect_for, sqlite_reactor
from buildbot.db.dialects.base import ReactorReader
from buildbot.db.pool import in_snapshot


class Stopwatch:
    """The clock that reads are timed with: each takes as long as is said, the next ones no time."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def perf_counter(self) -> float:
        """As of ``time``."""
        return self.times.pop(0) if self.times else 0.0


@pytest.fixture(autouse=True)
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    """A clock for the reader that does not depend on the machine's load."""
    stopwatch = Stopwatch()
    monkeypatch.setattr(sqlite_reactor, "time", stopwatch)
    return stopwatch


def thd_count(conn: Connection, value: int) -> int:
    """Count to ``value``."""
    count = "WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < :value) SELECT max(n) FROM up"
    return int(conn.execute(text(count), {"value": value}).scalar_one())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a table of one row."""
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as conn:
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("CREATE TABLE numbers (n INTEGER)")
        conn.execute("INSERT INTO numbers VALUES (1)")
    conn.close()
    return path


@pytest.fixture
def reactor_reader(path: Path) -> Iterator[ReactorReader]:
    """A reader of the database."""
    reactor_reader = opened(path)
    yield reactor_reader
    reactor_reader.close()


def opened(path: Path) -> ReactorReader:
    """A reader of this file."""
    dialect = dialect_for(f"sqlite:///{path}")
    reactor_reader = dialect.reactor_reader(dialect.create_engine(), None)
    assert reactor_reader is not None
    return reactor_reader


def thd_numbers(conn: Connection) -> list[int]:
    """All rows of the table."""
    return [row[0] for row in conn.execute(text("SELECT n FROM numbers ORDER BY n"))]


def read(reactor_reader: ReactorReader, function: Callable[..., Any], *args: Any) -> Any:
    """The result of a read on the reactor's thread; None if the read needs another thread."""
    found: list[Any] = []
    reading: Deferred[Any] | None = reactor_reader.read(function, args, {})
    if reading is None:
        return None
    reading.addCallback(found.append)
    reading.addErrback(lambda failure: found.append(failure.value))
    return found[0]


def test_stopped(reactor_reader: ReactorReader) -> None:
    """A long read is stopped, the next one is not; the connection stays."""
    seen = set()

    def thd_note(conn: Connection, value: int) -> int:
        seen.add(conn)
        return thd_count(conn, value)

    assert read(reactor_reader, thd_note, 10) == 10
    before = reactor_reader.statements
    assert read(reactor_reader, thd_note, 1_000_000) is None
    assert reactor_reader.statements == before
    assert read(reactor_reader, thd_note, 10) == 10
    assert len(seen) == 1


def test_steps_are_counted_apart(reactor_reader: ReactorReader) -> None:
    """Many short reads take many steps together, and none is stopped."""
    found = [read(reactor_reader, thd_count, 200) for _ in range(200)]
    assert [number for number in found if number is not None] == [200] * 191


def test_not_for_ever(reactor_reader: ReactorReader) -> None:
    """Of many reads in a row some go to a thread, so that the reactor can do other work."""
    answered = [read(reactor_reader, thd_numbers) is not None for _ in range(63)]
    assert [place for place, here in enumerate(answered) if not here] == [20, 41, 62]


def test_slow_disk(reactor_reader: ReactorReader, stopwatch: Stopwatch) -> None:
    """After a read that the disk kept waiting, threads read for a while."""
    stopwatch.times = [0.0, 0.02]
    assert read(reactor_reader, thd_numbers) == [1]
    assert [read(reactor_reader, thd_numbers) for _ in range(102)] == [None] * 101 + [[1]]


def test_locked(reactor_reader: ReactorReader, path: Path) -> None:
    """While another connection has the file locked, reads go to a thread instead of waiting."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("INSERT INTO numbers VALUES (2)")
    assert read(reactor_reader, thd_numbers) is None
    other.close()
    assert read(reactor_reader, thd_numbers) == [1, 2]


def test_no_file(tmp_path: Path) -> None:
    """Reads of a file that cannot be opened go to a thread, which gives the error."""
    reactor_reader = opened(tmp_path / "nowhere" / "x.sqlite")
    assert read(reactor_reader, thd_numbers) is None
    reactor_reader.close()


def test_errors(reactor_reader: ReactorReader) -> None:
    """Those of the function are the caller's; those of the database come from a thread, with its explanation."""

    def thd_raise(conn: Connection) -> None:
        raise ValueError("no")

    assert str(read(reactor_reader, thd_raise)) == "no"
    assert read(reactor_reader, lambda conn: conn.execute(text("SELECT nothing"))) is None
    assert read(reactor_reader, thd_numbers) == [1]


def test_newest(reactor_reader: ReactorReader, path: Path) -> None:
    """Every read sees all earlier commits; none leaves a transaction open, not even one that fails."""

    def thd_fail(conn: Connection) -> None:
        thd_numbers(conn)
        raise ValueError("no")

    other = sqlite3.connect(path, isolation_level=None)
    for number in range(2, 5):
        assert str(read(reactor_reader, in_snapshot, thd_fail)) == "no"
        assert len(read(reactor_reader, in_snapshot, thd_numbers)) == number - 1
        other.execute("INSERT INTO numbers VALUES (?)", (number,))
        assert read(reactor_reader, thd_numbers) == list(range(1, number + 1))
    other.close()
