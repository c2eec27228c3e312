"""Many rows by few statements: INSERT … SELECT over a table of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import create_engine, event, text

from bench.databases import with_driver

NUMBERS = "bench_numbers"

#: what the databases spell differently: whole division, 32 digits made of a number
_WORDS = {
    "sqlite": {"div": "/", "hash": "printf('%032x', {})"},
    "postgresql": {"div": "/", "hash": "lpad(to_hex({}), 32, '0')"},
    "mysql": {"div": "DIV", "hash": "lpad(lower(hex({})), 32, '0')"},
}
#: faster, for what is lost can be made again: no waiting for the disk, no look-up of references
_FAST = {
    "sqlite": ("PRAGMA synchronous=OFF", "PRAGMA cache_size=-200000", "PRAGMA busy_timeout=60000"),
    "postgresql": ("SET synchronous_commit=off", "SET session_replication_role=replica"),
    "mysql": (
        "SET SESSION foreign_key_checks=0, unique_checks=0, sql_mode='TRADITIONAL,ANSI'",
        "SET SESSION innodb_lock_wait_timeout=600",
    ),
}


class Bulk:
    """A connection that loads rows; each statement is a transaction."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(with_driver(url), isolation_level="AUTOCOMMIT")
        self.backend = "mysql" if self._engine.dialect.name == "mariadb" else self._engine.dialect.name
        settings = _FAST[self.backend]

        @event.listens_for(self._engine, "connect")
        def configure(connection: Any, record: Any) -> None:
            cursor = connection.cursor()
            for setting in settings:
                cursor.execute(setting)
            cursor.close()

        self._connection = self._engine.connect()
        self._numbers = 0

    def run(self, statement: str, **values: Any) -> None:
        """Execute a statement with named parameters."""
        self._connection.execute(text(statement), values)

    def scalar(self, statement: str, **values: Any) -> Any:
        """The first value."""
        return self._connection.execute(text(statement), values).scalar()

    def word(self, name: str, *arguments: str) -> str:
        """An expression as this database spells it."""
        return _WORDS[self.backend][name].format(*arguments)

    def rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert a few rows."""
        if rows:
            names = list(rows[0])
            marks = ", ".join(f":{name}" for name in names)
            self._connection.execute(text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"), list(rows))

    def fill(self, table: str, count: int, columns: Mapping[str, str]) -> None:
        """Insert ``count`` rows: ``columns`` gives an expression for each column, in which ``i`` runs from 1."""
        self._need_numbers(count)
        names, expressions = ", ".join(columns), ", ".join(columns.values())
        self.run(f"INSERT INTO {table} ({names}) SELECT {expressions} FROM {NUMBERS} WHERE i <= {count} ORDER BY i")

    def next_id(self, table: str) -> int:
        """The id after the highest."""
        return int(self.scalar(f"SELECT COALESCE(MAX(id), 0) + 1 FROM {table}"))

    def count_on(self, *tables: str) -> None:
        """Let ids given by the database follow those that were inserted."""
        if self.backend == "postgresql":
            for table in tables:
                highest = f"(SELECT COALESCE(MAX(id), 1) FROM {table})"
                self.scalar(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {highest})")

    def flush(self) -> None:
        """The write-ahead log of SQLite, which the next writer would have to empty."""
        if self.backend == "sqlite":
            self._connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def settle(self) -> None:
        """Leave no work behind that the next measurement would do: statistics, vacuum, the write-ahead log."""
        self.flush()
        if self.backend == "postgresql":
            self._connection.exec_driver_sql("VACUUM ANALYZE")
            self._connection.exec_driver_sql("CHECKPOINT")
        elif self.backend == "mysql":
            for table in self._connection.execute(text("SHOW TABLES")).scalars().all():
                self._connection.execute(text(f"ANALYZE TABLE {table}")).all()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()
        self._engine.dispose()

    def _need_numbers(self, count: int) -> None:
        if self._numbers == 0:
            self.run(f"CREATE TABLE IF NOT EXISTS {NUMBERS} (i INTEGER NOT NULL PRIMARY KEY)")
            self._numbers = int(self.scalar(f"SELECT COUNT(*) FROM {NUMBERS}"))
            if self._numbers == 0:
                self.run(f"INSERT INTO {NUMBERS} VALUES (1)")
                self._numbers = 1
        while self._numbers < count:
            more = min(self._numbers, count - self._numbers)
            self.run(f"INSERT INTO {NUMBERS} SELECT i + {self._numbers} FROM {NUMBERS} WHERE i <= {more}")
            self._numbers += more
