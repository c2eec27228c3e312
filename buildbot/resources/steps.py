"""Steps: what a build does, one after the other."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, bindparam, select, text

from buildbot.resources.base import (
    Field,
    Flag,
    Hash,
    Id,
    JsonText,
    LinkTo,
    Path,
    Resource,
    UnixTime,
    id_column,
    table,
)
from buildbot.resources.builders import builders
from buildbot.resources.builds import builds

steps = table(
    "steps",
    id_column(),
    Column("number", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False),
    Column("buildid", Id, ForeignKey("builds.id", ondelete="CASCADE"), nullable=False),
    Column("started_at", UnixTime),
    Column("locks_acquired_at", UnixTime),
    Column("complete_at", UnixTime),
    Column("results", Integer),
    Column("state_string", Text, nullable=False),
    Column("urls", JsonText, nullable=False),
    Column("hidden", Flag, nullable=False, server_default=text("0")),
    Index("uq_steps_buildid_number", "buildid", "number", unique=True),
    Index("uq_steps_buildid_name_hash", "buildid", "name_hash", unique=True),
)

_by_number = steps.c.buildid.in_(
    select(builds.c.id).where(
        builds.c.builderid == bindparam("builderid"), builds.c.number == bindparam("build_number")
    )
)
_by_name = steps.c.buildid.in_(
    select(builds.c.id)
    .join(builders, builders.c.id == builds.c.builderid)
    .where(builders.c.name == bindparam("buildername"), builds.c.number == bindparam("build_number"))
)

STEP = Resource(
    "step",
    "steps",
    table=steps,
    key="stepid",
    doc="One thing that a build does.",
    growing=True,
    fields={
        "stepid": Field(steps.c.id, "unique in the installation"),
        "number": Field(steps.c.number, "counts from 0 in its build"),
        "name": Field(steps.c.name, "unique in its build"),
        "buildid": Field(steps.c.buildid, "its build"),
        "started_at": Field(steps.c.started_at, "when it began"),
        "locks_acquired_at": Field(steps.c.locks_acquired_at, "when it had its locks"),
        "complete": Field(steps.c.complete_at.is_not(None), "true once it has ended"),
        "complete_at": Field(steps.c.complete_at, "when it ended"),
        "results": Field(steps.c.results, "None while it runs"),
        "state_string": Field(steps.c.state_string, "what it is doing"),
        "urls": Field(steps.c.urls, "[{name, url}]", kind="list"),
        "hidden": Field(steps.c.hidden, "true if pages hide it"),
    },
    paths=(
        Path("steps/n:stepid"),
        Path("builds/n:buildid/steps"),
        Path("builds/n:buildid/steps/n:number"),
        Path("builds/n:buildid/steps/i:name"),
        Path("builders/n:builderid/builds/n:build_number/steps", where=_by_number),
        Path("builders/n:builderid/builds/n:build_number/steps/n:number", where=_by_number),
        Path("builders/n:builderid/builds/n:build_number/steps/i:name", where=_by_number),
        Path("builders/s:buildername/builds/n:build_number/steps", where=_by_name),
        Path("builders/s:buildername/builds/n:build_number/steps/n:number", where=_by_name),
        Path("builders/s:buildername/builds/n:build_number/steps/i:name", where=_by_name),
    ),
    events=("steps/{stepid}", "builds/{buildid}/steps/{stepid}"),
    event_names=("new", "started", "updated", "finished"),
    links={"build": LinkTo("builds/{buildid}"), "logs": LinkTo("steps/{stepid}/logs")},
    order=("number",),
)
