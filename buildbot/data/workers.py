"""Updates of workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.workers import WORKER


class WorkerUpdates(Transacts):
    """``findWorkerId``, ``setWorkers``, ``workerConnected``, ``workerDisconnected``, ``workerMissing``,
    ``setWorkerState``, ``set_worker_condition``.
    """

    def findWorkerId(self, name: str) -> Deferred[int]:
        """The id of the worker with this name, which is added if it is new.

        Event if so: ``workers/N/state_updated``.
        """
        return self.transact(self._thdFindWorkerId, name)

    def _thdFindWorkerId(self, conn: Connection, events: Events, name: str) -> int:
        return self._db.workers.thdFindWorkerId(conn, name)

    def setWorkers(self, configured: Mapping[str, Iterable[int]]) -> Deferred[dict[str, int]]:
        """Set the workers of this master: ``{name: builderids}``. Event: ``workers/N/state_updated`` for each worker
        that changed.

        Returns:
            Deferred with ``{name: workerid}``.
        """
        return self.transact(self._thdSetWorkers, {name: list(ids) for name, ids in configured.items()})

    def _thdSetWorkers(self, conn: Connection, events: Events, configured: dict[str, list[int]]) -> dict[str, int]:
        self._db.masters.thdLockLinks(conn, self._db.masterid)
        ids = {name: self._db.workers.thdFindWorkerId(conn, name) for name in sorted(configured)}
        changed = self._db.workers.thdConfigure(
            conn, self._db.masterid, {ids[name]: builderids for name, builderids in configured.items()}
        )
        events.announce(WORKER, "state_updated", sorted(changed), asides=changed)
        return ids

    def workerConnected(self, workerid: int, workerinfo: Mapping[str, Any]) -> Deferred[None]:
        """Store that a worker connected to this master, and its information. Event: ``workers/N/connected``."""
        return self.transact(self._thdConnected, workerid, dict(workerinfo))

    def _thdConnected(self, conn: Connection, events: Events, workerid: int, info: dict[str, Any]) -> None:
        self._db.workers.thdConnected(conn, workerid, self._db.masterid, info)
        events.announce(WORKER, "connected", workerid)

    def workerDisconnected(self, workerid: int) -> Deferred[None]:
        """Store that a worker is no longer connected to this master. Event: ``workers/N/disconnected``."""
        return self.transact(self._thdDisconnected, workerid)

    def _thdDisconnected(self, conn: Connection, events: Events, workerid: int) -> None:
        if self._db.workers.thdDisconnected(conn, workerid, self._db.masterid):
            events.announce(WORKER, "disconnected", workerid)

    def setWorkerState(
        self,
        workerid: int,
        paused: bool | None = None,
        pause_reason: str | None = None,
        graceful: bool | None = None,
    ) -> Deferred[None]:
        """Pause or resume a worker, or shut it down gracefully; None: no change. Event: ``workers/N/state_updated``."""
        return self.transact(self._thdSetState, workerid, paused, pause_reason, graceful)

    def _thdSetState(
        self,
        conn: Connection,
        events: Events,
        workerid: int,
        paused: bool | None,
        pause_reason: str | None,
        graceful: bool | None,
    ) -> None:
        if self._db.workers.thdSetState(conn, workerid, paused, pause_reason, graceful):
            events.announce(WORKER, "state_updated", workerid)

    def workerMissing(
        self, workerid: int, masterid: int, last_connection: str, notify: Iterable[str]
    ) -> Deferred[None]:
        """Announce that a worker has been away for longer than its ``missing_timeout``. Event: ``workers/N/missing``,
        with these arguments.

        Args:
            masterid: the master that missed it.
            last_connection: when it was last connected, as text for people.
            notify: addresses of the people to tell.
        """
        return self.transact(self._thdMissing, workerid, masterid, last_connection, list(notify))

    def _thdMissing(
        self,
        conn: Connection,
        events: Events,
        workerid: int,
        masterid: int,
        last_connection: str,
        notify: list[str],
    ) -> None:
        said = {"masterid": masterid, "last_connection": last_connection, "notify": notify}
        events.announce(WORKER, "missing", workerid, changes=said)

    def set_worker_condition(
        self, workerid: int, quarantined_until: int | None = None, state_string: str | None = None
    ) -> Deferred[None]:
        """Set why a worker takes no builds. Event if that is new: ``workers/N/state_updated``.

        Args:
            quarantined_until: the end of its quarantine after a failure, in Unix seconds; None: not in quarantine.
            state_string: the reason of the quarantine, or the state of a worker on demand; None: nothing.
        """
        return self.transact(self._thdSetCondition, workerid, quarantined_until, state_string)

    def _thdSetCondition(
        self, conn: Connection, events: Events, workerid: int, quarantined_until: int | None, state_string: str | None
    ) -> None:
        if self._db.workers.thdSetCondition(conn, workerid, quarantined_until, state_string):
            events.announce(WORKER, "state_updated", workerid)
