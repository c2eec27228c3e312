"""Workers: the agents that run builds, and the masters where they are configured and connected."""

from __future__ import annotations

from typing import Any, TypedDict

from sqlalchemy import Column, ForeignKey, Text, bindparam, exists, select, text

from buildbot.resources.base import (
    Element,
    Field,
    Flag,
    Hash,
    Id,
    JsonText,
    Path,
    Related,
    Resource,
    UnixTime,
    id_column,
    table,
)

workers = table(
    "workers",
    id_column(),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False, unique=True),
    Column("info", JsonText, nullable=False),
    Column("paused", Flag, nullable=False, server_default=text("0")),
    Column("pause_reason", Text),
    Column("graceful", Flag, nullable=False, server_default=text("0")),
    Column("quarantined_until", UnixTime),
    Column("state_string", Text),
)

connected_workers = table(
    "connected_workers",
    Column("workerid", Id, ForeignKey("workers.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column(
        "masterid", Id, ForeignKey("masters.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, index=True
    ),
)

configured_workers = table(
    "configured_workers",
    Column("workerid", Id, ForeignKey("workers.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column(
        "masterid", Id, ForeignKey("masters.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, index=True
    ),
    Column(
        "builderid",
        Id,
        ForeignKey("builders.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        index=True,
    ),
)

_configured = configured_workers.c.workerid == workers.c.id
_for_builder = exists().where(_configured, configured_workers.c.builderid == bindparam("builderid")).correlate(workers)
_for_master = exists().where(_configured, configured_workers.c.masterid == bindparam("masterid")).correlate(workers)
_for_both = (
    exists()
    .where(
        _configured,
        configured_workers.c.masterid == bindparam("masterid"),
        configured_workers.c.builderid == bindparam("builderid"),
    )
    .correlate(workers)
)
_hears_for_builder = Element("configured_on", ("builderid",))
_hears_for_master = Element("configured_on", ("masterid",))
_hears_for_both = Element("configured_on", ("masterid", "builderid"))


class WorkerDict(TypedDict):
    """A worker in the Data API."""

    workerid: int
    name: str
    connected_to: list[dict[str, int]]
    configured_on: list[dict[str, int]]
    workerinfo: dict[str, Any]
    paused: bool
    pause_reason: str | None
    graceful: bool
    quarantined_until: int | None
    state_string: str | None


WORKER = Resource(
    "worker",
    "workers",
    table=workers,
    key="workerid",
    announced=False,
    made="state_updated",
    doc="An agent that runs builds.",
    entity=WorkerDict,
    fields={
        "workerid": Field(workers.c.id, "unique in the installation", db_key="id"),
        "name": Field(workers.c.name, "as configured"),
        "connected_to": Related(
            select(connected_workers.c.workerid, connected_workers.c.masterid).order_by(connected_workers.c.masterid),
            "objects",
            "masters that it is connected to; empty when it is offline",
        ),
        "configured_on": Related(
            select(
                configured_workers.c.workerid, configured_workers.c.masterid, configured_workers.c.builderid
            ).order_by(configured_workers.c.masterid, configured_workers.c.builderid),
            "objects",
            "pairs of master and builder that may use it",
        ),
        "workerinfo": Field(workers.c.info, "the information that it sent when it last connected"),
        "paused": Field(workers.c.paused, "true while it takes no new builds"),
        "pause_reason": Field(workers.c.pause_reason, "why it was paused"),
        "graceful": Field(workers.c.graceful, "true if it shuts down after its running builds"),
        "quarantined_until": Field(
            workers.c.quarantined_until,
            "the end of its quarantine after a failure, possibly in the past; null if it never was in quarantine",
        ),
        "state_string": Field(
            workers.c.state_string,
            "the reason of its quarantine, or the state of a worker on demand; null otherwise",
        ),
    },
    paths=(
        Path("workers"),
        Path("workers/n:workerid"),
        Path("workers/i:name"),
        Path("builders/n:builderid/workers", where=_for_builder, hears=_hears_for_builder),
        Path("builders/n:builderid/workers/n:workerid", where=_for_builder, hears=_hears_for_builder),
        Path("builders/n:builderid/workers/i:name", where=_for_builder, hears=_hears_for_builder),
        Path("masters/n:masterid/workers", where=_for_master, hears=_hears_for_master),
        Path("masters/n:masterid/workers/n:workerid", where=_for_master, hears=_hears_for_master),
        Path("masters/n:masterid/workers/i:name", where=_for_master, hears=_hears_for_master),
        Path("masters/n:masterid/builders/n:builderid/workers", where=_for_both, hears=_hears_for_both),
        Path("masters/n:masterid/builders/n:builderid/workers/n:workerid", where=_for_both, hears=_hears_for_both),
        Path("masters/n:masterid/builders/n:builderid/workers/i:name", where=_for_both, hears=_hears_for_both),
    ),
    events=("workers/{workerid}",),
    event_names=("connected", "disconnected", "state_updated", "missing"),
    order=("workerid",),
)
