"""A master: the only module that knows all parts, and builds them from the bottom up."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from buildbot.config.errors import ConfigErrors
from buildbot.config.loader import load_config
from buildbot.config.master import MasterConfig
from buildbot.data.connector import DataConnector
from buildbot.db.connector import DBConnector
from buildbot.db.exceptions import DatabaseNotReadyError
from buildbot.mq.connector import MQConnector
from buildbot.process.background import in_background
from buildbot.process.heartbeat import Heartbeat
from buildbot.process.janitor import Janitor
from buildbot.process.services import ProcessLayer
from buildbot.util.deferreds import deferred
from buildbot.util.metrics import Metrics
from buildbot.www.site import WwwServer

log = Logger()


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

    @property
    def masterid(self) -> int:
        """The id of this master."""
        return self.db.masterid

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
        # what other masters wrote ends what our caches hold
        await self.mq.startConsuming(self._user_changed, ("users", None, "updated"))
        await self.mq.startConsuming(self._session_ended, ("sessions", None, "ended"))
        await self.mq.startConsuming(self._stamps_used, ("buildsets", None, "new"))
        await self.mq.startConsuming(self._deleted, ("changes", None, "deleted"))
        await self.mq.startConsuming(self._deleted, ("sourcestamps", None, "deleted"))

    def _user_changed(self, key: tuple[str, ...], message: Any) -> None:
        self.db.invalidate("usdicts", int(key[1]))

    def _session_ended(self, key: tuple[str, ...], message: Any) -> None:
        self.db.invalidate("sessions")

    def _stamps_used(self, key: tuple[str, ...], message: Any) -> None:
        for stamp in message["sourcestamps"]:  # it may come from further changes now
            self.db.invalidate("ssdicts", stamp["ssid"])

    def _deleted(self, key: tuple[str, ...], message: Any) -> None:
        self.db.invalidate({"changes": "chdicts", "sourcestamps": "ssdicts"}[key[0]], int(key[1]))

    def _events_skipped(self) -> None:
        for name in self.db.caches:
            self.db.invalidate(name)
        in_background(self._follow(), "following the log of events anew")

    @deferred
    async def close(self) -> None:
        """Finish what was asked for and close all connections; Deferred."""
        self.mq.stop()
        await self.db.close()


@deferred
async def openMaster(db_url: str, name: str | None = None, upgrade: bool = False) -> StateLayer:
    """The state layer as a library: a master with ``db``, ``mq``, ``data``, ``masterid`` and ``close()``, nothing
    else running.

    Args:
        db_url: as in ``master.cfg``; a relative SQLite path is relative to the current directory.
        name: default ``hostname:current directory``.
        upgrade: bring the schema up to date first.

    Returns:
        Deferred with the master. It is registered and inactive until ``master.data.update.masterActive()``.

    Raises:
        DatabaseNotReadyError: the database is empty or out of date and ``upgrade`` is false.
        InvalidURLError: the connection string cannot work.

    Source: design, Embedding.
    """
    from twisted.internet import reactor

    master = StateLayer(db_url, name or default_name(Path.cwd()), reactor)
    try:
        await master.open(upgrade)
    except BaseException:
        await master.close()
        raise
    return master


def default_name(directory: Path) -> str:
    """What a master is called unless it is named: host and directory."""
    return f"{socket.gethostname()}:{os.path.abspath(directory)}"


class BuildMaster(StateLayer):
    """The full master of a directory: the state layer with everything that runs on it.

    Attributes:
        basedir: its directory.
        config: the configuration that it runs.
        failed: it had to end.
    """

    def __init__(self, basedir: Path, configfile: str, reactor: Any) -> None:
        self.basedir = basedir
        self._configfile = configfile
        self.reactor = reactor
        self.config: MasterConfig
        self.failed = False
        self._process: ProcessLayer | None = None
        self._heartbeat: Heartbeat | None = None
        self._janitor: Janitor | None = None
        self._www: WwwServer | None = None

    async def start(self) -> None:
        """Read the configuration and run it.

        Raises:
            ConfigErrors: all mistakes of the configuration.
            DatabaseNotReadyError: run ``upgrade-master`` first.
            CannotListenError: a port is in use.

        After an error nothing is left running.
        """
        self.config = config = load_config(self.basedir, self._configfile)
        super().__init__(config.db_url, default_name(self.basedir), self.reactor, self.basedir)
        try:
            await self.open()
            self._process = ProcessLayer(self)
            self.metrics.add(self._process.workers.metrics)
            self._heartbeat = Heartbeat(self, self._declared_dead)
            self._www = WwwServer(self, config.www, config.buildbotURL, config.title, config.titleURL)
            await self._www.start()
            await self._heartbeat.start()
            await self._process.start(config)
            self._janitor = Janitor(self, config.retention)
            self._janitor.start()
        except BaseException:
            await self.stop()
            raise

    async def reconfig(self) -> None:
        """Read the configuration again and change to it; with mistakes in it, the running one stays.

        Raises ConfigErrors, CannotListenError.
        """
        config = load_config(self.basedir, self._configfile)
        if config.db_url != self.config.db_url:
            raise ConfigErrors(["db_url: cannot be changed while the master runs; restart it"])
        assert self._process is not None and self._www is not None
        await self._www.reconfigure(config.www, config.buildbotURL, config.title, config.titleURL)
        await self._process.reconfigure(config)
        if self._janitor is not None:
            self._janitor.retention = config.retention
        self.config = config

    async def stop(self) -> None:
        """End everything that runs; builds that run are built again at the next start."""
        if self._janitor is not None:
            self._janitor.stop()
        if self._www is not None:
            await self._www.stop()
        if self._process is not None:
            await self._process.stop()
        if self._heartbeat is not None:
            await self._heartbeat.stop()
        if hasattr(self, "db"):
            await self.close()

    def _events_skipped(self) -> None:
        # Schedulers, builds and workers follow the log too. They could each begin anew, but so does a new process, and
        # its start is what is tried every day.
        log.critical("this master was away for longer than the log of events reaches back; it ends, start it again")
        self.failed = True
        self.reactor.stop()

    async def _declared_dead(self) -> None:
        assert self._process is not None
        await self._process.declared_dead()
