"""Logs: the output of steps, in chunks of lines."""

from __future__ import annotations

from itertools import product
from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, and_, bindparam, select, text

from buildbot.resources.base import Blob, Field, Flag, Hash, Id, LinkTo, Path, Resource, id_column, table
from buildbot.resources.builds import BUILD_BY_NAME, BUILD_BY_NUMBER
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
    # 0: plain UTF-8; 1: zstd
    Column("compressed", Flag, nullable=False),
    Column("content", Blob, nullable=False),
)

_builds = {
    "builds/n:buildid": steps.c.buildid == bindparam("buildid"),
    "builders/n:builderid/builds/n:build_number": steps.c.buildid.in_(BUILD_BY_NUMBER),
    "builders/s:buildername/builds/n:build_number": steps.c.buildid.in_(BUILD_BY_NAME),
}
_steps = {
    "n:step_number": steps.c.number == bindparam("step_number"),
    "i:step_name": steps.c.name == bindparam("step_name"),
}
_slug = logs.c.slug == bindparam("log_slug")
_nested = {
    f"{build}/steps/{step}/logs": logs.c.stepid.in_(select(steps.c.id).where(and_(_builds[build], _steps[step])))
    for build, step in product(_builds, _steps)
}


class LogDict(TypedDict):
    """A log in the Data API."""

    logid: int
    name: str
    slug: str
    stepid: int
    complete: bool
    num_lines: int
    type: str


class DbLogDict(TypedDict):
    """A log in the connector."""

    id: int
    num_lines: int
    type: str
    complete: bool
    name: str
    slug: str
    stepid: int


LOG = Resource(
    "log",
    "logs",
    table=logs,
    key="logid",
    announced=True,
    build_by="stepid",
    doc="A log of a step.",
    growing=True,
    entity=LogDict,
    db_entity=DbLogDict,
    fields={
        "logid": Field(logs.c.id, "unique in the installation"),
        "name": Field(logs.c.name, "as the step named it"),
        "slug": Field(logs.c.slug, "its name in paths; unique in its step"),
        "stepid": Field(logs.c.stepid, "its step"),
        "complete": Field(logs.c.complete, "true once it is finished"),
        "num_lines": Field(logs.c.num_lines, "the number of its lines so far"),
        "type": Field(logs.c.type, "s: stdio, t: text, h: HTML, d: deleted"),
    },
    paths=(
        Path("logs/n:logid"),
        Path("steps/n:stepid/logs"),
        Path("steps/n:stepid/logs/i:log_slug", where=_slug),
        *(Path(pattern, where=where) for pattern, where in _nested.items()),
        *(Path(f"{pattern}/i:log_slug", where=and_(where, _slug)) for pattern, where in _nested.items()),
    ),
    events=("logs/{logid}", "steps/{stepid}/logs/{slug}"),
    event_names=("new", "append", "finished", "emptied", "deleted"),
    links={"step": LinkTo("steps/{stepid}"), "contents": LinkTo("logs/{logid}/contents")},
    order=("logid",),
)
