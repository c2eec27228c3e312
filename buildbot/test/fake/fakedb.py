"""A database for tests of code that uses the connectors: the real connectors, in memory, without threads.

For plugin authors::

    from buildbot.test.fake import fakedb

    master = fakedb.make_master()               # master.db, master.mq, master.data, all real
    fakedb.insert(master, fakedb.Builder(id=7, name="linux"), fakedb.Worker(id=2, name="w1"))

Calls of ``master.db`` run at once, so their Deferreds have fired when they are returned. The database is a copy of one
migrated template. A row names the columns that its test cares about; the others get values that hold together.

Source: specification 001, Tests; readings, replaced techniques.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy import insert as insert_into
from sqlalchemy.engine import Connection, Engine

from buildbot.data.connector import DataConnector
from buildbot.db.connector import DBConnector
from buildbot.db.dialects import dialect_for
from buildbot.db.model import upgrade
from buildbot.mq.connector import MQConnector
from buildbot.resources import metadata
from buildbot.resources.types import Blob, Flag, Hash, JsonText, ListText, UnixTime
from buildbot.util import checks


class FakeMaster:
    """The state layer of a master, on a database in memory."""

    def __init__(self, reactor: Any, name: str) -> None:
        self.name = name
        self.reactor = reactor
        self.db = DBConnector(self, "sqlite://", reactor)
        load_template(self.db.pool.engine)
        self.mq = MQConnector(self.db, reactor)
        self.data = DataConnector(self.db, self.mq)

    @property
    def masterid(self) -> int:
        """The id of this master."""
        return self.db.masterid


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
    """A row of a table; subclasses are made for every table and named after it."""

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
    engine = dialect.create_engine().execution_options(tenfold_dialect=dialect)
    upgrade(engine)
    raw = engine.raw_connection()
    raw.detach()
    return raw.dbapi_connection  # type: ignore[return-value]


#: hashes that stand for other columns than the one they are named after
_HASHED = {"object_hash": ("name", "class_name"), "attr_hash": ("attr_type", "attr_data")}


def _defaults(table: Table, given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column in table.columns:
        has_default = column.nullable or column.server_default is not None or column.autoincrement is True
        if column.name not in given and not has_default and not isinstance(column.type, Hash):
            found[column.name] = _default(column)
    known = {**found, **given}
    for column in table.columns:
        if isinstance(column.type, Hash) and column.name not in given:
            parts = [known.get(name) for name in _HASHED.get(column.name, (column.name.removesuffix("_hash"),))]
            if None not in parts:
                found[column.name] = checks.name_hash(*map(str, parts))
            elif not column.nullable:
                found[column.name] = checks.name_hash(column.name)
    return found


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


def _row_class(table: Table) -> type[Row]:
    singular = table.name.removesuffix("s") if not table.name.endswith("ss") else table.name
    name = "".join(word.capitalize() for word in singular.split("_"))
    doc = f"A row of ``{table.name}``: {', '.join(table.columns.keys())}."
    return type(name, (Row,), {"table": table, "__doc__": doc})


#: row classes by name: ``Builder``, ``Buildrequest``, ``BuildProperties``-like singulars of the table names
ROWS: dict[str, type[Row]] = {cls.__name__: cls for cls in map(_row_class, metadata.sorted_tables)}
globals().update(ROWS)
