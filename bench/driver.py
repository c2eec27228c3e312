"""The bare drivers behind one small face, so that hand-written SQL is written once where the databases agree."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from sqlalchemy.engine import URL, make_url

from bench.databases import MYSQL_DRIVER


class Driver:
    """One connection. Statements have ``?`` for parameters.

    Durability is that of a master: SQLite with WAL and ``synchronous=FULL``, servers as they are configured.
    """

    #: sqlite, postgresql or mysql
    backend: str
    #: the driver's connection
    connection: Any

    def __init__(self, connect: Callable[[], Any], backend: str, mark: str) -> None:
        self.backend = backend
        self.connection = connect()
        self.cursor = self.connection.cursor()
        self._mark = mark
        self._texts: dict[str, str] = {}

    def run(self, text: str, values: Sequence[Any] = ()) -> int:
        """Execute; how many rows it changed."""
        self.cursor.execute(self._spelled(text), values)
        return int(self.cursor.rowcount)

    def add(self, text: str, values: Sequence[Any] = ()) -> int:
        """Execute an INSERT and return the id of its row."""
        if self.backend == "mysql":
            self.cursor.execute(self._spelled(text), values)
            return int(self.cursor.lastrowid)
        row = self.one(f"{text} RETURNING id", values)
        assert row is not None
        return int(row[0])

    def one(self, text: str, values: Sequence[Any] = ()) -> Any:
        """The first row, or None."""
        self.cursor.execute(self._spelled(text), values)
        return self.cursor.fetchone()

    def all(self, text: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        """All rows."""
        self.cursor.execute(self._spelled(text), values)
        rows: Sequence[Any] = self.cursor.fetchall()
        return rows

    def begin(self) -> None:
        """Begin to write; the servers' drivers do it themselves."""
        if self.backend == "sqlite":
            self.cursor.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """As the driver does it."""
        if self.backend == "sqlite":
            self.cursor.execute("COMMIT")
        else:
            self.connection.commit()

    def autocommit(self, on: bool) -> None:
        """Whether single statements are transactions, as reads should be."""
        if self.backend == "postgresql":
            self.connection.autocommit = on
        elif self.backend == "mysql":
            self.connection.autocommit(on)

    def _spelled(self, text: str) -> str:
        if self._mark == "?":
            return text
        spelled = self._texts.get(text)
        if spelled is None:
            spelled = self._texts[text] = text.replace("?", self._mark)
        return spelled


def connect(url: str) -> Driver:
    """A connection to the database of a URL."""
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return Driver(lambda: _sqlite(str(parsed.database)), backend, "?")
    if backend == "postgresql":
        return Driver(lambda: _postgresql(parsed), backend, "%s")
    return Driver(lambda: _mysql(parsed), "mysql", "%s")


def _sqlite(path: str) -> Any:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _postgresql(url: URL) -> Any:
    import psycopg

    return psycopg.connect(dbname=url.database, prepare_threshold=3, **_given(url))


def _mysql(url: URL) -> Any:
    driver: Any = import_module("MySQLdb" if MYSQL_DRIVER == "mysqldb" else "pymysql")
    connection = driver.connect(
        database=url.database,
        charset="utf8mb4",
        init_command="SET SESSION sql_mode='TRADITIONAL,ANSI'",
        **_given(url),
    )
    connection.cursor().execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    return connection


def _given(url: URL) -> dict[str, Any]:
    named = {"host": url.host, "port": url.port, "user": url.username, "password": url.password, **url.query}
    return {name: value for name, value in named.items() if value is not None}
