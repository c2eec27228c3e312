"""Logs: what steps had to say, in chunks of lines."""

from __future__ import annotations

from itertools import product

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, and_, bindparam, select, text

from buildbot.resources.base import Blob, Field, Flag, Hash, Id, LinkTo, Path, Resource, id_column, table
from buildbot.resources.builders import builders
from buildbot.resources.builds import builds
from buildbot.resources.steps import steps

logs = table(
    "logs",
    id_column(),
    Column("name", Text, nullable=False),
    Column("slug", Text, nullable=False),
    Column("slug_hash", Hash, nullable=False),
    Column("stepid", Id, ForeignKey("steps.id", ondelete="CASCADE"), nullable=False),
    Column("complete", Flag, nullable=False, server_default=text("0")),
    Column("num_lines", Integer, nullable=False, server_default=text("0")),
    Column("type", Text, nullable=False),
    Index("uq_logs_stepid_slug_hash", "stepid", "slug_hash", unique=True),
)

logchunks = table(
    "logchunks",
    Column("logid", Id, ForeignKey("logs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("first_line", Integer, primary_key=True, autoincrement=False),
    Column("last_line", Integer, nullable=False),
    # 0: UTF-8 as it is; 1: zstd
    Column("compressed", Flag, nullable=False),
    Column("content", Blob, nullable=False),
)

_builds = {
    "builds/n:buildid": steps.c.buildid == bindparam("buildid"),
    "builders/n:builderid/builds/n:build_number": steps.c.buildid.in_(
        select(builds.c.id).where(
            builds.c.builderid == bindparam("builderid"), builds.c.number == bindparam("build_number")
        )
    ),
    "builders/s:buildername/builds/n:build_number": steps.c.buildid.in_(
        select(builds.c.id)
        .join(builders, builders.c.id == builds.c.builderid)
        .where(builders.c.name == bindparam("buildername"), builds.c.number == bindparam("build_number"))
    ),
}
_steps = {
    "n:step_number": steps.c.number == bindparam("step_number"),
    "i:step_name": steps.c.name == bindparam("step_name"),
}
_nested = {
    f"{build}/steps/{step}/logs": logs.c.stepid.in_(select(steps.c.id).where(and_(_builds[build], _steps[step])))
    for build, step in product(_builds, _steps)
}

LOG = Resource(
    "log",
    "logs",
    table=logs,
    key="logid",
    doc="Something that a step had to say.",
    growing=True,
    fields={
        "logid": Field(logs.c.id, "unique in the installation"),
        "name": Field(logs.c.name, "as the step named it"),
        "slug": Field(logs.c.slug, "its name as it stands in paths; unique in its step"),
        "stepid": Field(logs.c.stepid, "its step"),
        "complete": Field(logs.c.complete, "true once nothing more will come"),
        "num_lines": Field(logs.c.num_lines, "how many lines it has so far"),
        "type": Field(logs.c.type, "s: stdio, t: text, h: HTML, d: deleted"),
    },
    paths=(
        Path("logs/n:logid"),
        Path("steps/n:stepid/logs"),
        Path("steps/n:stepid/logs/i:slug"),
        *(Path(pattern, where=where) for pattern, where in _nested.items()),
        *(Path(f"{pattern}/i:slug", where=where) for pattern, where in _nested.items()),
    ),
    events=("logs/{logid}", "steps/{stepid}/logs/{slug}"),
    event_names=("new", "append", "finished"),
    links={"step": LinkTo("steps/{stepid}"), "contents": LinkTo("logs/{logid}/contents")},
    order=("logid",),
)
