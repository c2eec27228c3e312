"""A master's state layer on each backend, on a database that is migrated once and emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.engine import Engine

from buildbot.data.connector import DataConnector
from buildbot.db.dialects import dialect_for
from buildbot.db.dialects.context import dialect_of
from buildbot.db.model import upgrade
from buildbot.mq.connector import MQConnector
from buildbot.resources import clock, metadata
from buildbot.state import StateLayer
from buildbot.test.fake.fakedb import make_master
from buildbot.util.metrics import Metrics
from tests.support.databases import MYSQLCLIENT, database_url, selected_backends
from tests.support.reactor import reactor, run

#: the connectors as plugin authors test with them: in memory, without threads, one master
FAKE = "fake"


def state_backends(shared: bool) -> tuple[str, ...]:
    """Backends for tests of the state layer; ``shared``: only those that several masters can use at once."""
    backends = selected_backends()
    if "mysql" in backends:
        backends = (*backends, MYSQLCLIENT)
    return backends if shared else (FAKE, *backends)


class Database:
    """A migrated database of one backend; ``url`` and ``engine`` are None for the fake."""

    def __init__(self, backend: str, url: str | None = None, engine: Engine | None = None) -> None:
        self.backend = backend
        self.url = url
        self.engine = engine
        self._masters: dict[str, Any] = {}

    def empty(self) -> None:
        """Remove every row; the clock goes on, ids are not used again."""
        if self.engine is None:
            return
        with self.engine.connect() as conn, dialect_of(conn).unhurried(conn):
            for table in reversed(metadata.sorted_tables):
                if table is not clock:
                    conn.execute(delete(table))
            conn.execute(update(clock).values(trimmed=clock.c.seq))
            conn.commit()

    @contextmanager
    def master(self, name: str) -> Iterator[Any]:
        """An active master of this name; all of it is new but its connections, which take long to make."""
        if self.url is None:
            master: Any = make_master(name=name)
            yield master
            master.mq.stop()
            master.db.close()
            return
        master = self._masters.get(name)
        if master is None:
            master = self._masters[name] = StateLayer(self.url, name, reactor)
        run(_start_anew(master))
        try:
            yield master
        finally:
            master.mq.stop()

    def close(self) -> None:
        """End all connections."""
        for master in self._masters.values():
            run(master.close())
        if self.engine is not None:
            self.engine.dispose()


async def _start_anew(master: Any) -> None:
    for caches in master.db.caches.values():
        for cache in caches:
            cache.invalidate()
    master.db.pool.groups._names.clear()  # builders are never removed but here
    master.mq = MQConnector(master.db, reactor)
    master.data = DataConnector(master.db, master.mq)
    master.metrics = Metrics(master.db.pool.metrics, master.mq.metrics, master.data.metrics)
    await master.open()
    await master.data.update.masterActive()


@contextmanager
def open_database(backend: str, directory: Path) -> Iterator[Database]:
    """A migrated database that is dropped at the end of the block."""
    if backend == FAKE:
        yield Database(backend)
        return
    with database_url(backend, "contract", directory) as url:
        dialect = dialect_for(url)
        engine = dialect.create_engine()
        upgrade(engine)
        opened = Database(backend, url, engine)
        try:
            yield opened
        finally:
            opened.close()
