"""Buildsets: build requests that were triggered together, on one set of source stamps."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Integer, Text, select, text

from buildbot.resources.base import (
    Field,
    Flag,
    Id,
    JsonText,
    LinkTo,
    Path,
    Related,
    Resource,
    UnixTime,
    id_column,
    partial_index,
    table,
)
from buildbot.resources.sourcestamps import (
    STAMP_COLUMNS,
    SourceStampDict,
    patches,
    sourcestamps,
    sourcestampset_members,
)

buildsets = table(
    "buildsets",
    id_column(),
    Column("external_idstring", Text),
    Column("reason", Text, nullable=False),
    Column("sourcestampsetid", Id, ForeignKey("sourcestampsets.id"), nullable=False, index=True),
    Column("submitted_at", UnixTime, nullable=False, index=True),
    Column("complete", Flag, nullable=False, server_default=text("0")),
    Column("complete_at", UnixTime),
    Column("results", Integer, nullable=False, server_default=text("-1")),
    Column("scheduler", Text),
    Column("parent_buildid", Id, index=True),
    Column("parent_relationship", Text),
    Column("rebuilt_buildid", Id, index=True),
    # {name: [value, source]}; never changes, so it lives on the row
    Column("properties", JsonText, nullable=False),
    partial_index("ix_buildsets_open", "complete", "id", where="complete = 0"),
)


class BuildsetDict(TypedDict):
    """A buildset in the Data API."""

    bsid: int
    external_idstring: str | None
    reason: str
    rebuilt_buildid: int | None
    submitted_at: int
    complete: bool
    complete_at: int | None
    results: int
    sourcestamps: list[SourceStampDict]
    parent_buildid: int | None
    parent_relationship: str | None
    scheduler: str | None


class DbBuildsetDict(TypedDict):
    """A buildset in the connector."""

    bsid: int
    external_idstring: str | None
    reason: str
    sourcestampsetid: int
    submitted_at: datetime
    complete: bool
    complete_at: datetime | None
    results: int
    parent_buildid: int | None
    parent_relationship: str | None
    rebuilt_buildid: int | None


BUILDSET = Resource(
    "buildset",
    "buildsets",
    table=buildsets,
    key="bsid",
    announced=True,
    doc="Build requests that were triggered together.",
    growing=True,
    entity=BuildsetDict,
    db_entity=DbBuildsetDict,
    fields={
        "bsid": Field(buildsets.c.id, "unique in the installation"),
        "external_idstring": Field(buildsets.c.external_idstring, "a key that the caller chose"),
        "reason": Field(buildsets.c.reason, "why it was triggered"),
        "rebuilt_buildid": Field(buildsets.c.rebuilt_buildid, "the first original when this is a rebuild"),
        "submitted_at": Field(buildsets.c.submitted_at, "when it was triggered"),
        "complete": Field(buildsets.c.complete, "true once all its requests are complete"),
        "complete_at": Field(buildsets.c.complete_at, "when it was completed"),
        "results": Field(buildsets.c.results, "-1 until complete, then the worst result"),
        "sourcestamps": Related(
            select(buildsets.c.id, *STAMP_COLUMNS)
            .select_from(buildsets)
            .join(
                sourcestampset_members,
                sourcestampset_members.c.sourcestampsetid == buildsets.c.sourcestampsetid,
            )
            .join(sourcestamps, sourcestamps.c.id == sourcestampset_members.c.ssid)
            .outerjoin(patches, patches.c.id == sourcestamps.c.patchid)
            .order_by(sourcestamps.c.id),
            "objects",
            "what it builds",
            fixed=True,
        ),
        "parent_buildid": Field(buildsets.c.parent_buildid, "the build that triggered it"),
        "parent_relationship": Field(buildsets.c.parent_relationship, "how it belongs to that build"),
        "scheduler": Field(buildsets.c.scheduler, "name of the scheduler that triggered it"),
    },
    paths=(Path("buildsets"), Path("buildsets/n:bsid")),
    events=("buildsets/{bsid}",),
    event_names=("new", "update", "complete", "deleted"),
    links={
        "properties": LinkTo("buildsets/{bsid}/properties"),
        "buildrequests": LinkTo("buildsets/{bsid}/buildrequests"),
        "parent_build": LinkTo("builds/{parent_buildid}"),
        "rebuilt_build": LinkTo("builds/{rebuilt_buildid}"),
    },
    order=("bsid",),
)
