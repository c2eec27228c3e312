"""A database for tests of code that uses the connectors: the real connectors, in memory, without threads.

For plugin authors::

    from buildbot.test.fake import fakedb

    master = fakedb.make_master()               # master.db, master.mq, master.data, all real
    fakedb.insert(master, fakedb.Builder(id=7, name="linux"), fakedb.Worker(id=2, name="w1"))

Calls of ``master.db`` run at once, so their Deferreds have fired when they are returned. The database is a copy of one
migrated template. A row names the columns that its test cares about; the others get values that hold together.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy import insert as insert_into
from sqlalchemy.engine import Connection, Engine

from buildbot.db.changes import history_hash
from buildbot.db.dialects import dialect_for
from buildbot.db.model import upgrade
from buildbot.resources import metadata
from buildbot.resources.types import Blob, Flag, Hash, JsonText, ListText, UnixTime
from buildbot.state import StateLayer
from buildbot.util import checks


class FakeMaster(StateLayer):
    """The state layer of a master, on a database in memory."""

    def __init__(self, reactor: Any, name: str) -> None:
        super().__init__("sqlite://", name, reactor)
        load_template(self.db.pool.engine)

    def wall_seconds(self) -> float:
        """The current time in Unix seconds."""
        return time.time()

    def is_late(self) -> bool:
        """False: it has no heartbeat."""
        return False


def make_master(reactor: Any = None, name: str = "host:/basedir") -> FakeMaster:
    """A master's state layer, registered and active.

    Args:
        reactor: used for delivering events; Twisted's unless given (a ``Clock`` will do).
    """
    if reactor is None:
        from twisted.internet import reactor

    master = FakeMaster(reactor, name)
    _now(master.db.masters.findMasterId(name)).addCallback(lambda found: setattr(master.db, "masterid", found))
    _now(master.data.update.masterActive())
    from twisted.internet.defer import ensureDeferred

    _now(ensureDeferred(master.mq.start()))
    return master


class Row:
    """A row of a table; there is a subclass for each table, named as users of Buildbot's fake database know it."""

    table: Table

    def __init__(self, **values: Any) -> None:
        unknown = set(values) - set(self.table.columns.keys())
        if unknown:
            raise TypeError(f"{self.table.name} has no column {sorted(unknown)[0]!r}")
        self.values = {**_defaults(self.table, values), **values}


def insert(master: Any, *rows: Row) -> None:
    """Insert rows, in an order in which none refers to a later one."""
    order = {table.name: position for position, table in enumerate(metadata.sorted_tables)}

    def thd(conn: Connection) -> None:
        for row in sorted(rows, key=lambda row: order[row.table.name]):
            conn.execute(insert_into(row.table).values(row.values))

    _now(master.db.pool.do(thd))


def load_template(engine: Engine) -> None:
    """Make an in-memory database a copy of a migrated empty one."""
    with engine.connect() as conn:
        _template().backup(conn.connection.dbapi_connection)  # type: ignore[arg-type]


@cache
def _template() -> sqlite3.Connection:
    dialect = dialect_for("sqlite://")
    engine = dialect.create_engine()
    upgrade(engine)
    raw = engine.raw_connection()
    raw.detach()
    return raw.dbapi_connection  # type: ignore[return-value]


#: hashes that stand for other columns than the one they are named after
_HASHES: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "object_hash": lambda row: checks.name_hash(row["name"], row["class_name"]),
    "attr_hash": lambda row: checks.name_hash(row["attr_type"], row["attr_data"]),
    "history_hash": lambda row: history_hash(row["repository"], row["project"], row["codebase"], row.get("branch")),
    # a stamp that is not shared
    "content_hash": lambda row: None,
}


def _defaults(table: Table, given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column in table.columns:
        has_default = column.nullable or column.server_default is not None or column.autoincrement is True
        if column.name not in given and not has_default and not isinstance(column.type, Hash):
            found[column.name] = _default(column)
    known = {**found, **given}
    for column in table.columns:
        if isinstance(column.type, Hash) and column.name not in given:
            found[column.name] = _hash(column, known)
    return found


def _hash(column: Column[Any], row: Mapping[str, Any]) -> str | None:
    make = _HASHES.get(column.name)
    if make is not None:
        return make(row)
    value = row.get(column.name.removesuffix("_hash"), None if column.nullable else "")
    return None if value is None else checks.name_hash(value)


def _default(column: Column[Any]) -> Any:
    if isinstance(column.type, ListText):
        return "[]"
    if isinstance(column.type, JsonText):
        return "{}"
    if isinstance(column.type, Blob):
        return b""
    if isinstance(column.type, UnixTime | Flag):
        return 0
    return 1 if column.type.python_type is int else ""


def _now(d: Any) -> Any:
    """The Deferred, which has fired; its failure is raised."""
    failures: list[Any] = []
    d.addErrback(failures.append)
    if failures:
        failures[0].raiseException()
    if not d.called:
        raise AssertionError("a call of the fake database did not run at once")
    return d


def _row_class(name: str, table: Table) -> type[Row]:
    doc = f"A row of ``{table.name}``: {', '.join(table.columns.keys())}."
    return type(name, (Row,), {"table": table, "__doc__": doc})


#: the tables by the names of their row classes
_TABLES = {
    "Build": "builds",
    "BuildData": "build_data",
    "BuildDataValue": "build_data_values",
    "BuildProperty": "build_properties",
    "BuildRequest": "buildrequests",
    "Builder": "builders",
    "BuilderMaster": "builder_masters",
    "Buildset": "buildsets",
    "Change": "changes",
    "ChangeSource": "changesources",
    "ChangeSourceMaster": "changesource_masters",
    "ChangeUser": "change_users",
    "Clock": "clock",
    "Codebase": "codebases",
    "CodebaseBranch": "branches",
    "CodebaseCommit": "commits",
    "ConfiguredWorker": "configured_workers",
    "ConnectedWorker": "connected_workers",
    "Consumer": "consumers",
    "Delivery": "deliveries",
    "Event": "events",
    "ForceBuilder": "force_builders",
    "Log": "logs",
    "LogChunk": "logchunks",
    "Master": "masters",
    "Object": "objects",
    "ObjectState": "object_state",
    "Patch": "patches",
    "Project": "projects",
    "Scheduler": "schedulers",
    "SchedulerChange": "scheduler_changes",
    "SchedulerMaster": "scheduler_masters",
    "Session": "sessions",
    "SourceStamp": "sourcestamps",
    "SourceStampSet": "sourcestampsets",
    "SourceStampSetChange": "sourcestampset_changes",
    "SourceStampSetMember": "sourcestampset_members",
    "Step": "steps",
    "TestCodePath": "test_code_paths",
    "TestName": "test_names",
    "TestResult": "test_results",
    "TestResultSet": "test_result_sets",
    "User": "users",
    "UserInfo": "users_info",
    "Worker": "workers",
}

#: row classes by name
ROWS: dict[str, type[Row]] = {name: _row_class(name, metadata.tables[table]) for name, table in _TABLES.items()}
globals().update(ROWS)
