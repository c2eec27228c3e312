"""The state layer alone: a master with its connectors and nothing that runs builds or serves pages."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildbot.data.connector import DataConnector
from buildbot.db.base import Invalidation
from buildbot.db.connector import DBConnector
from buildbot.db.exceptions import DatabaseNotReadyError
from buildbot.mq.connector import MQConnector
from buildbot.mq.log import Event
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred
from buildbot.util.metrics import Metrics

if TYPE_CHECKING:
    from buildbot.util.httpclient import HttpClient


class StateLayer:
    """The state of an installation, as one of its masters sees it: ``db``, ``mq``, ``data``.

    Attributes:
        name: unique in the installation.
        db, mq, data: the connectors.
        metrics: what they count.
    """

    def __init__(self, db_url: str, name: str, reactor: Any, basedir: Path | None = None) -> None:
        self.name = name
        self.reactor = reactor
        self.db = DBConnector(self, db_url, reactor, None if basedir is None else str(basedir))
        self.mq = MQConnector(self.db, reactor)
        self.data = DataConnector(self.db, self.mq)
        self.metrics = Metrics(self.db.pool.metrics, self.mq.metrics, self.data.metrics)
        self._http: HttpClient | None = None

    @property
    def masterid(self) -> int:
        """The id of this master."""
        return self.db.masterid

    @property
    def httpservice(self) -> HttpClient:
        """The client for requests to other servers. It is closed with the master."""
        if self._http is None:
            # not at the top: programs that use the state layer alone rarely need it, and it imports an HTTP stack
            from buildbot.util.httpclient import HttpClient

            self._http = HttpClient(self.reactor)
        return self._http

    def wall_seconds(self) -> float:
        """The current time in Unix seconds."""
        return time.time()

    def is_late(self) -> bool:
        """False: a program that uses the state layer alone checks in by itself."""
        return False

    async def open(self, upgrade: bool = False) -> None:
        """Connect, check the schema, register this master (inactive), follow the log.

        Raises DatabaseNotReadyError if the schema is out of date and ``upgrade`` is false.
        """
        if upgrade:
            await self.db.model.upgrade()
        elif not await self.db.model.is_current():
            raise DatabaseNotReadyError(
                "the database's schema is not the one that this version needs; run: buildbot upgrade-master BASEDIR"
            )
        self.db.masterid = await self.data.update.findMasterId(self.name)
        self.db.epoch = await self.db.pool.read(self.db.masters.thdGetEpoch, self.db.masterid)
        await self.mq.start()
        self.mq.on_skipped = self._events_skipped
        await self._follow()

    async def _follow(self) -> None:
        # What other masters wrote makes the caches of this one old.
        for each in self.db.invalidations:
            await self.mq.subscribe([each.pattern], self._invalidate(each))

    def _invalidate(self, invalidation: Invalidation) -> Callable[[Event, tuple[str, ...]], None]:
        caches = self.db.caches[invalidation.cache]

        def heard(event: Event, key: tuple[str, ...]) -> None:
            if all(cache.is_empty for cache in caches):  # most are, and need not know what the event says
                return
            for stale in invalidation.keys(key, event):
                self.db.invalidate(invalidation.cache, stale)

        return heard

    def _events_skipped(self) -> None:
        for name in self.db.caches:
            self.db.invalidate(name)
        in_background(self._follow(), "following the log of events anew")

    @deferred
    async def close(self) -> None:
        """Finish what was asked for and close all connections; Deferred."""
        if self._http is not None:
            await self._http.close()
        self.mq.stop()
        await self.db.close()


@deferred
async def openMaster(
    db_url: str, name: str | None = None, upgrade: bool = False, basedir: Path | None = None
) -> StateLayer:
    """The state layer as a library: a master with ``db``, ``mq``, ``data``, ``masterid`` and ``close()``, nothing
    else running.

    Args:
        db_url: as in ``master.cfg``.
        name: default ``hostname:current directory``.
        upgrade: bring the schema up to date first.
        basedir: what a relative SQLite path is relative to; default: the current directory.

    Returns:
        Deferred with the master. It is registered and inactive until ``master.data.update.masterActive()``.

    Raises:
        DatabaseNotReadyError: the database is empty or out of date and ``upgrade`` is false.
        InvalidURLError: the connection string cannot work.
    """
    from twisted.internet import reactor

    master = StateLayer(db_url, name or default_name(Path.cwd()), reactor, basedir)
    try:
        await master.open(upgrade)
    except BaseException:
        await master.close()
        raise
    return master


def default_name(directory: Path) -> str:
    """The default name of a master: host and directory."""
    return f"{socket.gethostname()}:{os.path.abspath(directory)}"
