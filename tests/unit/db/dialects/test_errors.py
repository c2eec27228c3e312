"""The meaning of each database's errors."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import psycopg.errors
import pymysql.err
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from buildbot.db.dialects import dialect_for
from buildbot.db.engine import queues
from buildbot.db.engine.queues import ThreadConnection

POSTGRESQL = dialect_for("postgresql://h/d")
MYSQL = dialect_for("mysql://h/d")
SQLITE = dialect_for("sqlite:///x.sqlite")


def error(original: Exception) -> DBAPIError:
    """As callers see it."""
    return OperationalError("SELECT 1", {}, original)


def full(name: str) -> sqlite3.OperationalError:
    """An error of SQLite by its name."""
    made = sqlite3.OperationalError("no")
    made.sqlite_errorname = name
    return made


@pytest.mark.parametrize("code", [1040, 1203, 1226, 1135, 1053, 2003, 2006, 2013])
def test_no_connection_to_be_had(code: int) -> None:
    """MySQL and MariaDB: too many connections, of all or of this user, are waited for like a lost one."""
    assert MYSQL.is_disconnect(error(pymysql.err.OperationalError(code, "no")))


@pytest.mark.parametrize("code", [1044, 1045, 1049, 1062, 1064, 1146])
def test_wrong(code: int) -> None:
    """An error that another try does not mend is not retried."""
    assert not MYSQL.is_disconnect(error(pymysql.err.OperationalError(code, "no")))


@pytest.mark.parametrize("state", ["53300", "57P01", "57P02", "57P03", "08006", "08001"])
def test_no_connection_to_be_had_postgresql(state: str) -> None:
    """PostgreSQL: no connection left, or the server is going or coming."""
    assert POSTGRESQL.is_disconnect(error(psycopg.errors.lookup(state)("no")))


def test_out_of_room() -> None:
    """A full disk is waited for, on each database; a mistake is not."""
    for dialect, original in (
        (SQLITE, full("SQLITE_FULL")),
        (SQLITE, full("SQLITE_IOERR_WRITE")),
        (POSTGRESQL, psycopg.errors.lookup("53100")("no")),
        (MYSQL, pymysql.err.OperationalError(1021, "no")),
        (MYSQL, pymysql.err.OperationalError(1114, "no")),
    ):
        assert dialect.is_out_of_room(error(original))
        assert dialect.explain_failure(error(original)) is not None or dialect is SQLITE
    for dialect, original in (
        (SQLITE, full("SQLITE_CONSTRAINT_UNIQUE")),
        (POSTGRESQL, psycopg.errors.lookup("23505")("no")),
        (MYSQL, pymysql.err.OperationalError(1062, "no")),
    ):
        assert not dialect.is_out_of_room(error(original))


class Engine:
    """Gives a connection when there is one."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def connect(self) -> Any:
        """A connection, or the error that there are too many."""
        if self.refusals:
            self.refusals -= 1
            raise error(pymysql.err.OperationalError(1040, "Too many connections"))
        return self

    def execution_options(self, **options: Any) -> Any:
        """As a connection's."""
        return self

    #: as a connection's
    info: dict[str, Any] = {}


class Never(threading.Event):
    """A pool that is not closed, in which no time passes."""

    def wait(self, timeout: float | None = None) -> bool:
        """At once."""
        return False


def test_new_connection_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new connection is waited for if there was one before; the first one fails with the database's error."""
    monkeypatch.setattr(queues, "CallConnection", Engine.connect)
    dialect = dialect_for("mysql://h/d")
    closing = Never()
    with pytest.raises(OperationalError):
        ThreadConnection(Engine(1), dialect, closing, {}).get()  # type: ignore[arg-type]
    ThreadConnection(Engine(0), dialect, closing, {}).get()  # type: ignore[arg-type]
    engine = Engine(5)
    assert ThreadConnection(engine, dialect, closing, {}).get() is engine  # type: ignore[arg-type, comparison-overlap]
