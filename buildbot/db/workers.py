"""Workers connector: the information of each agent, and the masters where it is configured and connected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Text, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.dialects import Dialect
from buildbot.db.dialects.expressions import IdIn
from buildbot.db.engine.names import NamedRows
from buildbot.db.engine.statements import Statement
from buildbot.db.operations import writes
from buildbot.resources.types import UnixTime
from buildbot.resources.workers import configured_workers, connected_workers, workers
from buildbot.util import checks, jsontext

_names = NamedRows(workers, info="{}")
_set_info = Statement(
    update(workers).where(workers.c.id == bindparam("workerid")).values(info=bindparam("new_info"), graceful=0)
)


_set_condition = Statement(
    update(workers)
    .where(
        workers.c.id == bindparam("workerid"),
        or_(
            func.coalesce(workers.c.quarantined_until, 0) != func.coalesce(bindparam("until", type_=UnixTime()), 0),
            func.coalesce(workers.c.state_string, "") != func.coalesce(bindparam("state", type_=Text()), ""),
        ),
    )
    .values(quarantined_until=bindparam("until", type_=UnixTime()), state_string=bindparam("state", type_=Text()))
)


def _insert_connected(dialect: Dialect) -> Any:
    return dialect.insert_ignore(connected_workers).values(  # type: ignore[attr-defined]
        workerid=bindparam("workerid"), masterid=bindparam("masterid")
    )


_connect = Statement(_insert_connected)
_disconnect = Statement(
    delete(connected_workers).where(
        connected_workers.c.workerid == bindparam("workerid"), connected_workers.c.masterid == bindparam("masterid")
    )
)
_connected_to = Statement(
    select(connected_workers.c.workerid)
    .where(connected_workers.c.masterid == bindparam("masterid"))
    .order_by(connected_workers.c.workerid)
)
_configured_on = Statement(
    select(configured_workers.c.workerid, configured_workers.c.builderid).where(
        configured_workers.c.masterid == bindparam("masterid")
    )
)
_configure = Statement(
    insert(configured_workers).values(
        workerid=bindparam("workerid"), masterid=bindparam("masterid"), builderid=bindparam("builderid")
    )
)
_unconfigure = Statement(
    delete(configured_workers).where(
        configured_workers.c.workerid == bindparam("workerid"),
        configured_workers.c.masterid == bindparam("masterid"),
        configured_workers.c.builderid == bindparam("builderid"),
    )
)
#: an announcement of a worker must hold its row: some of its attributes are in other tables, which others may change
_lock = Statement(select(workers.c.id).where(IdIn(workers.c.id)).order_by(workers.c.id).with_for_update(key_share=True))


class WorkersConnectorComponent(DBConnectorComponent):
    """Workers; at ``master.db.workers``."""

    def thdFindWorkerId(self, conn: Connection, name: str) -> int:
        """The id of the worker with this name, which is added if it is new."""
        return _names.id(conn, name)

    findWorkerId = writes(thdFindWorkerId)

    # -- for the Data layer -------------------------------------------------------------------------

    def thdConnected(self, conn: Connection, workerid: int, masterid: int, info: Mapping[str, Any]) -> None:
        """Store that a worker connected to a master, and its information; this ends a graceful shutdown."""
        stored = checks.text(jsontext.dumps(dict(info), "workerinfo"), "workerinfo", checks.MAX_INFO)
        _set_info.run(conn, workerid=workerid, new_info=stored)
        _connect.run(conn, workerid=workerid, masterid=masterid)

    def thdDisconnected(self, conn: Connection, workerid: int, masterid: int) -> bool:
        """Store that a worker disconnected; false if it was not connected."""
        _lock.all(conn, ids=[workerid])
        return _disconnect.count(conn, workerid=workerid, masterid=masterid) == 1

    def thdConnectedTo(self, conn: Connection, masterid: int) -> list[int]:
        """Ids of the workers connected to a master."""
        return [row[0] for row in _connected_to.all(conn, masterid=masterid)]

    def thdConfigure(
        self, conn: Connection, masterid: int, configured: Mapping[int, Iterable[int]]
    ) -> dict[int, dict[str, Any]]:
        """Set the workers of a master and their builders: ``{workerid: builderids}``.

        Returns for each worker that changed its earlier ``{"configured_on": […]}``, by workerid.
        """
        wanted = {(workerid, builderid) for workerid, ids in configured.items() for builderid in ids}
        had = {(row[0], row[1]) for row in _configured_on.all(conn, masterid=masterid)}
        changed = sorted({workerid for workerid, _ in had ^ wanted})
        if changed:
            _lock.all(conn, ids=changed)
        for workerid, builderid in sorted(had - wanted):
            _unconfigure.run(conn, workerid=workerid, masterid=masterid, builderid=builderid)
        _configure.many(conn, [{"workerid": w, "masterid": masterid, "builderid": b} for w, b in sorted(wanted - had)])
        until_now: dict[int, dict[str, Any]] = {workerid: {"configured_on": []} for workerid in changed}
        for workerid, builderid in sorted(had):
            if workerid in until_now:
                until_now[workerid]["configured_on"].append({"masterid": masterid, "builderid": builderid})
        return until_now

    def thdSetState(
        self,
        conn: Connection,
        workerid: int,
        paused: bool | None = None,
        pause_reason: str | None = None,
        graceful: bool | None = None,
    ) -> bool:
        """Pause (with the reason) or resume a worker, or shut it down gracefully; false if it is unknown."""
        values: dict[str, Any] = {}
        if paused is not None:
            values["paused"] = int(checks.boolean(paused, "paused"))
            values["pause_reason"] = checks.optional_text(pause_reason, "pause_reason") if paused else None
        if graceful is not None:
            values["graceful"] = int(checks.boolean(graceful, "graceful"))
        if not values:
            return True
        done = conn.execute(
            update(workers).where(workers.c.id == checks.identifier(workerid, "workerid")).values(values)
        )
        return bool(done.rowcount == 1)

    def thdSetCondition(
        self, conn: Connection, workerid: int, quarantined_until: int | None, state_string: str | None
    ) -> bool:
        """Store why a worker takes no builds; false if the worker is unknown, or this is stored already."""
        text = checks.optional_text(state_string, "state_string")
        return _set_condition.count(conn, workerid=workerid, until=quarantined_until, state=text) == 1
