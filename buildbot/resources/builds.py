"""Builds: the runs of builders on workers, each for a build request."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, and_, bindparam, select, text

from buildbot.resources.base import (
    Among,
    Equals,
    Field,
    Hash,
    Id,
    JsonText,
    LinkTo,
    Path,
    Related,
    Resource,
    UnixTime,
    id_column,
    table,
)
from buildbot.resources.builders import builders
from buildbot.resources.buildrequests import buildrequests
from buildbot.resources.buildsets import buildsets
from buildbot.resources.sourcestamps import sourcestampset_changes

builds = table(
    "builds",
    id_column(),
    Column("number", Integer, nullable=False),
    Column("builderid", Id, ForeignKey("builders.id"), nullable=False),
    Column("buildrequestid", Id, ForeignKey("buildrequests.id"), nullable=False, index=True),
    Column("workerid", Id, ForeignKey("workers.id")),
    Column("masterid", Id, ForeignKey("masters.id"), nullable=False),
    Column("started_at", UnixTime, nullable=False, index=True),
    Column("complete_at", UnixTime),
    Column("locks_duration_s", Integer, nullable=False, server_default=text("0")),
    Column("state_string", Text, nullable=False),
    Column("results", Integer),
    # a person asked to stop it; stored so that the wish outlives the master that runs it
    Column("stop_reason", Text),
    Index("uq_builds_builderid_number", "builderid", "number", unique=True),
    Index("ix_builds_workerid_id", "workerid", "id"),
    Index("ix_builds_masterid_complete_at", "masterid", "complete_at"),
    Index("ix_builds_complete_at_id", "complete_at", "id"),
    Index("ix_builds_results_started_at", "results", "started_at"),
)

build_properties = table(
    "build_properties",
    Column("buildid", Id, ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("name_hash", Hash, primary_key=True),
    Column("name", Text, nullable=False),
    Column("value", JsonText, nullable=False),
    Column("source", Text, nullable=False),
)

_build_of_changes = (
    select(builds.c.id)
    .join(buildrequests, buildrequests.c.id == builds.c.buildrequestid)
    .join(buildsets, buildsets.c.id == buildrequests.c.buildsetid)
    .join(sourcestampset_changes, sourcestampset_changes.c.sourcestampsetid == buildsets.c.sourcestampsetid)
    .where(sourcestampset_changes.c.changeid == bindparam("changeid"))
)
_named_builder = select(builders.c.id).where(builders.c.name == bindparam("buildername")).scalar_subquery()
_number = builds.c.number == bindparam("build_number")

#: the build that a path names by the variables ``builderid``, or ``buildername``, and ``build_number``
BUILD_BY_NUMBER = select(builds.c.id).where(builds.c.builderid == bindparam("builderid"), _number)
BUILD_BY_NAME = select(builds.c.id).where(builds.c.builderid == _named_builder, _number)

#: the asides of buildsets have the ids of their changes
_of_change = Among(
    "buildsetid",
    "buildsets",
    "bsid",
    Equals("changeids", "changeid"),
    found_by=Path(
        "buildsets",
        where=buildsets.c.sourcestampsetid.in_(
            select(sourcestampset_changes.c.sourcestampsetid).where(
                sourcestampset_changes.c.changeid == bindparam("changeid")
            )
        ),
    ),
)


def _build_of_buildset(which: Among) -> Among:
    return Among("buildrequestid", "buildrequests", "buildrequestid", which)


class BuildDict(TypedDict):
    """A build in the Data API."""

    buildid: int
    number: int
    builderid: int
    buildrequestid: int
    workerid: int | None
    masterid: int
    started_at: int
    complete: bool
    complete_at: int | None
    locks_duration_s: int
    results: int | None
    state_string: str
    properties: dict[str, list[Any]]


class DbBuildDict(TypedDict):
    """A build in the connector."""

    bid: int
    number: int
    brid: int
    start_time: datetime
    finish_time: datetime | None
    builderid: int
    workerid: int | None
    masterid: int
    results: int | None
    state_string: str


BUILD = Resource(
    "build",
    "builds",
    table=builds,
    key="buildid",
    announced=True,
    build_by="buildid",
    doc="A run of a builder on a worker.",
    growing=True,
    entity=BuildDict,
    db_entity=DbBuildDict,
    fields={
        "buildid": Field(builds.c.id, "unique in the installation", db_key="bid"),
        "number": Field(builds.c.number, "counts from 1 for each builder"),
        "builderid": Field(builds.c.builderid, "what was built"),
        "buildrequestid": Field(builds.c.buildrequestid, "why it was built", db_key="brid"),
        "workerid": Field(builds.c.workerid, "where it runs"),
        "masterid": Field(builds.c.masterid, "who runs it"),
        "started_at": Field(builds.c.started_at, "when it began", db_key="start_time"),
        "complete": Field(builds.c.complete_at.is_not(None), "true once it has ended"),
        "complete_at": Field(builds.c.complete_at, "when it ended", db_key="finish_time"),
        "locks_duration_s": Field(builds.c.locks_duration_s, "seconds spent waiting for locks"),
        "results": Field(builds.c.results, "None while it runs"),
        "state_string": Field(builds.c.state_string, "what it is doing"),
        "properties": Related(
            select(
                build_properties.c.buildid, build_properties.c.name, build_properties.c.value, build_properties.c.source
            ).order_by(build_properties.c.name),
            "properties",
            "{name: [value, source]} of the properties asked for",
            kind="json",
            on_request=True,
            default={},
        ),
    },
    paths=(
        Path("builds"),
        Path("builds/n:buildid"),
        Path("builders/n:builderid/builds"),
        Path("builders/n:builderid/builds/n:build_number", where=_number),
        Path("builders/s:buildername/builds", where=builds.c.builderid == _named_builder),
        Path("builders/s:buildername/builds/n:build_number", where=and_(builds.c.builderid == _named_builder, _number)),
        Path("buildrequests/n:buildrequestid/builds"),
        Path(
            "changes/n:changeid/builds", where=builds.c.id.in_(_build_of_changes), hears=_build_of_buildset(_of_change)
        ),
        Path("workers/n:workerid/builds"),
        Path("masters/n:masterid/builds"),
        Path(
            "builds/n:buildid/triggered_builds",
            where=builds.c.buildrequestid.in_(
                select(buildrequests.c.id)
                .join(buildsets, buildsets.c.id == buildrequests.c.buildsetid)
                .where(buildsets.c.parent_buildid == bindparam("buildid"))
            ),
            hears=_build_of_buildset(Among("buildsetid", "buildsets", "bsid", Equals("parent_buildid", "buildid"))),
        ),
    ),
    events=(
        "builds/{buildid}",
        "builders/{builderid}/builds/{number}",
        "workers/{workerid}/builds/{buildid}",
    ),
    event_names=("new", "update", "finished", "deleted"),
    links={
        "buildrequest": LinkTo("buildrequests/{buildrequestid}"),
        "builder": LinkTo("builders/{builderid}"),
        "worker": LinkTo("workers/{workerid}"),
        "master": LinkTo("masters/{masterid}"),
        "steps": LinkTo("builds/{buildid}/steps"),
        "changes": LinkTo("builds/{buildid}/changes"),
    },
    order=("buildid",),
)
