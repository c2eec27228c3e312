"""Builders, and the masters that run them."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Integer, Text, bindparam, exists, select, text

from buildbot.resources.base import (
    Among,
    Equals,
    Field,
    Hash,
    Id,
    LinkTo,
    ListText,
    Path,
    Related,
    Resource,
    id_column,
    table,
)
from buildbot.resources.workers import configured_workers

builders = table(
    "builders",
    id_column(),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False, unique=True),
    Column("description", Text),
    Column("description_format", Text),
    Column("description_html", Text),
    Column("projectid", Id, index=True),
    Column("tags", ListText, nullable=False),
    # the number of its newest build; raised under the row's lock
    Column("last_number", Integer, nullable=False, server_default=text("0")),
)

builder_masters = table(
    "builder_masters",
    Column("builderid", Id, ForeignKey("builders.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column(
        "masterid", Id, ForeignKey("masters.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, index=True
    ),
)

_on_master = (
    exists()
    .where(builder_masters.c.builderid == builders.c.id, builder_masters.c.masterid == bindparam("masterid"))
    .correlate(builders)
)


_hears_of_master = Equals("masterids", "masterid")


class BuilderDict(TypedDict):
    """A builder in the Data API."""

    builderid: int
    name: str
    masterids: list[int]
    description: str | None
    description_format: str | None
    description_html: str | None
    projectid: int | None
    tags: list[str]


class DbBuilderDict(TypedDict):
    """A builder in the connector."""

    id: int
    name: str
    tags: list[str]


BUILDER = Resource(
    "builder",
    "builders",
    table=builders,
    key="builderid",
    announced=False,
    made="update",
    doc="A builder; it stays known when it is no longer configured.",
    entity=BuilderDict,
    db_entity=DbBuilderDict,
    fields={
        "builderid": Field(builders.c.id, "unique in the installation", db_key="id"),
        "name": Field(builders.c.name, "as configured"),
        "masterids": Related(
            select(builder_masters.c.builderid, builder_masters.c.masterid).order_by(builder_masters.c.masterid),
            "values",
            "masters that run it; empty when it is no longer configured",
        ),
        "description": Field(builders.c.description, "as configured"),
        "description_format": Field(builders.c.description_format, "markdown or None"),
        "description_html": Field(builders.c.description_html, "the description as HTML, if it has a format"),
        "projectid": Field(builders.c.projectid, "its project, if any"),
        "tags": Field(builders.c.tags, "as configured"),
    },
    paths=(
        Path("builders"),
        Path("builders/n:builderid"),
        Path("builders/s:buildername", where=builders.c.name == bindparam("buildername")),
        Path("masters/n:masterid/builders", where=_on_master, hears=_hears_of_master),
        Path("masters/n:masterid/builders/n:builderid", where=_on_master, hears=_hears_of_master),
        Path("projects/n:projectid/builders"),
        Path(
            "workers/n:workerid/builders",
            where=exists()
            .where(
                configured_workers.c.builderid == builders.c.id, configured_workers.c.workerid == bindparam("workerid")
            )
            .correlate(builders),
            hears=Among("builderid", "workers", "configured_on.builderid", Equals("workerid", "workerid"), single=True),
        ),
    ),
    events=("builders/{builderid}",),
    event_names=("update", "started", "stopped"),
    links={
        "builds": LinkTo("builders/{builderid}/builds"),
        "buildrequests": LinkTo("builders/{builderid}/buildrequests"),
    },
    order=("builderid",),
)
