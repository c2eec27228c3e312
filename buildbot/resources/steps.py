"""Steps: the parts of a build, one after the other."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, and_, bindparam, text

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
from buildbot.resources.builds import BUILD_BY_NAME, BUILD_BY_NUMBER

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

_by_number = steps.c.buildid.in_(BUILD_BY_NUMBER)
_by_name = steps.c.buildid.in_(BUILD_BY_NAME)
_step_number = steps.c.number == bindparam("step_number")
_step_name = steps.c.name == bindparam("step_name")


class StepDict(TypedDict):
    """A step in the Data API."""

    stepid: int
    number: int
    name: str
    buildid: int
    started_at: int | None
    locks_acquired_at: int | None
    complete: bool
    complete_at: int | None
    results: int | None
    state_string: str
    urls: list[dict[str, str]]
    hidden: bool


STEP = Resource(
    "step",
    "steps",
    table=steps,
    key="stepid",
    announced=True,
    build_by="buildid",
    doc="A part of a build.",
    growing=True,
    entity=StepDict,
    fields={
        "stepid": Field(steps.c.id, "unique in the installation"),
        "number": Field(steps.c.number, "counts from 0 in its build"),
        "name": Field(steps.c.name, "unique in its build"),
        "buildid": Field(steps.c.buildid, "its build"),
        "started_at": Field(steps.c.started_at, "when it began"),
        "locks_acquired_at": Field(steps.c.locks_acquired_at, "when it got its locks"),
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
        Path("builds/n:buildid/steps/n:step_number", where=_step_number),
        Path("builds/n:buildid/steps/i:step_name", where=_step_name),
        Path("builders/n:builderid/builds/n:build_number/steps", where=_by_number),
        Path("builders/n:builderid/builds/n:build_number/steps/n:step_number", where=and_(_by_number, _step_number)),
        Path("builders/n:builderid/builds/n:build_number/steps/i:step_name", where=and_(_by_number, _step_name)),
        Path("builders/s:buildername/builds/n:build_number/steps", where=_by_name),
        Path("builders/s:buildername/builds/n:build_number/steps/n:step_number", where=and_(_by_name, _step_number)),
        Path("builders/s:buildername/builds/n:build_number/steps/i:step_name", where=and_(_by_name, _step_name)),
    ),
    events=("steps/{stepid}", "builds/{buildid}/steps/{stepid}"),
    event_names=("new", "started", "updated", "finished", "deleted"),
    links={"build": LinkTo("builds/{buildid}"), "logs": LinkTo("steps/{stepid}/logs")},
    order=("number",),
)
