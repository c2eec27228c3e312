"""Build requests, and their claims."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, select, text

from buildbot.resources.base import (
    Field,
    Flag,
    Id,
    LinkTo,
    Path,
    Related,
    Resource,
    UnixTime,
    id_column,
    partial_index,
    table,
)
from buildbot.resources.buildsets import buildsets

buildrequests = table(
    "buildrequests",
    id_column(),
    Column("buildsetid", Id, ForeignKey("buildsets.id"), nullable=False, index=True),
    Column("builderid", Id, ForeignKey("builders.id"), nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("complete", Flag, nullable=False, server_default=text("0")),
    Column("results", Integer, nullable=False, server_default=text("-1")),
    Column("submitted_at", UnixTime, nullable=False, index=True),
    Column("complete_at", UnixTime),
    Column("waited_for", Flag, nullable=False, server_default=text("0")),
    # the claim: a master at one of its epochs, or all three NULL
    Column("claimed_by_masterid", Id, ForeignKey("masters.id")),
    Column("claimed_epoch", Integer),
    Column("claimed_at", UnixTime),
    # a person asked to cancel it while a master was building it
    Column("cancel_reason", Text),
    partial_index(
        "ix_buildrequests_open",
        "complete",
        "claimed_by_masterid",
        "builderid",
        "priority",
        "id",
        where="complete = 0",
    ),
    Index("ix_buildrequests_builderid_id", "builderid", "id"),
    partial_index(
        "ix_buildrequests_claims",
        "claimed_by_masterid",
        "complete",
        where="complete = 0 OR claimed_by_masterid IS NULL",
    ),
)

_claimed = buildrequests.c.claimed_by_masterid.is_not(None)


class BuildRequestDict(TypedDict):
    """A build request in the Data API."""

    buildrequestid: int
    buildsetid: int
    builderid: int
    priority: int
    claimed: bool
    claimed_at: int | None
    claimed_by_masterid: int | None
    complete: bool
    results: int
    submitted_at: int
    complete_at: int | None
    waited_for: bool
    properties: dict[str, list[Any]] | None


class DbBuildRequestDict(TypedDict):
    """A build request in the connector."""

    brid: int
    buildsetid: int
    buildername: str
    priority: int
    claimed: bool
    claimed_at: datetime | None
    mine: bool
    complete: bool
    complete_at: datetime | None
    builderid: int
    results: int
    submitted_at: datetime
    waited_for: bool
    claimed_by_masterid: int | None


BUILDREQUEST = Resource(
    "buildrequest",
    "buildrequests",
    table=buildrequests,
    key="buildrequestid",
    announced=False,
    doc="A request to build on a builder.",
    growing=True,
    entity=BuildRequestDict,
    db_entity=DbBuildRequestDict,
    fields={
        "buildrequestid": Field(buildrequests.c.id, "unique in the installation", db_key="brid"),
        "buildsetid": Field(buildrequests.c.buildsetid, "the buildset that it belongs to"),
        "builderid": Field(buildrequests.c.builderid, "the builder that builds it"),
        "priority": Field(buildrequests.c.priority, "higher goes first"),
        "claimed": Field(_claimed, "true if a master has claimed it"),
        "claimed_at": Field(buildrequests.c.claimed_at, "when it was last claimed"),
        "claimed_by_masterid": Field(buildrequests.c.claimed_by_masterid, "the master that has claimed it"),
        "complete": Field(buildrequests.c.complete, "true once it is built or cancelled"),
        "results": Field(buildrequests.c.results, "-1 until complete"),
        "submitted_at": Field(buildrequests.c.submitted_at, "when it was triggered"),
        "complete_at": Field(buildrequests.c.complete_at, "when it was completed"),
        "waited_for": Field(buildrequests.c.waited_for, "true if a build waits for it"),
        "properties": Related(
            select(buildrequests.c.id, buildsets.c.properties).join(
                buildsets, buildsets.c.id == buildrequests.c.buildsetid
            ),
            "properties",
            "of its buildset; None unless asked for",
            kind="json",
            on_request=True,
        ),
    },
    paths=(
        Path("buildrequests"),
        Path("buildrequests/n:buildrequestid"),
        Path("builders/n:builderid/buildrequests"),
        Path("buildsets/n:buildsetid/buildrequests"),
    ),
    events=(
        "buildrequests/{buildrequestid}",
        "builders/{builderid}/buildrequests/{buildrequestid}",
        "buildsets/{buildsetid}/builders/{builderid}/buildrequests/{buildrequestid}",
    ),
    event_names=("new", "claimed", "unclaimed", "update", "complete", "cancel", "deleted"),
    links={
        "buildset": LinkTo("buildsets/{buildsetid}"),
        "builder": LinkTo("builders/{builderid}"),
        "builds": LinkTo("buildrequests/{buildrequestid}/builds"),
        "master": LinkTo("masters/{claimed_by_masterid}"),
    },
    order=("buildrequestid",),
    # Unclaimed means that it waits: a request that was cancelled before a master claimed it does not wait.
    implied={("claimed", False): ("complete", False)},
)
