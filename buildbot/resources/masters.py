"""Masters: the processes that share one installation."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from sqlalchemy import Column, ColumnElement, Integer, Text, bindparam, column, select, text
from sqlalchemy import table as named_table

from buildbot.resources.base import Among, Either, Equals, Field, Flag, Hash, Path, Resource, UnixTime, id_column, table

masters = table(
    "masters",
    id_column(),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False, unique=True),
    Column("active", Flag, nullable=False, server_default=text("0")),
    Column("last_active", UnixTime, nullable=False, server_default=text("0")),
    # raised whenever a process takes the master over or it is declared dead; writes of an older epoch are refused
    Column("epoch", Integer, nullable=False, server_default=text("0")),
)

#: by name, since builders import this file
_builder_masters = named_table("builder_masters", column("builderid"), column("masterid"))
_runs_builder = masters.c.id.in_(
    select(_builder_masters.c.masterid).where(_builder_masters.c.builderid == bindparam("builderid"))
)

#: columns of a master as it is embedded in other nouns
MASTER_COLUMNS: tuple[ColumnElement[object], ...] = (
    masters.c.id.label("masterid"),
    masters.c.name,
    masters.c.active,
    masters.c.last_active,
)


#: a master that stops says in an aside what it ran
_hears_of_builder = Either(
    (
        Among("masterid", "builders", "masterids", Equals("builderid", "builderid"), single=True),
        Equals("builderids", "builderid"),
    )
)


class MasterDict(TypedDict):
    """A master in the Data API."""

    masterid: int
    name: str
    active: bool
    last_active: int


class DbMasterDict(TypedDict):
    """A master in the connector."""

    id: int
    name: str
    active: bool
    last_active: datetime


MASTER = Resource(
    "master",
    "masters",
    table=masters,
    key="masterid",
    announced=False,
    made="new",
    doc="A process of the installation.",
    entity=MasterDict,
    db_entity=DbMasterDict,
    fields={
        "masterid": Field(masters.c.id, "unique in the installation", db_key="id"),
        "name": Field(masters.c.name, "host name and directory unless configured"),
        "active": Field(masters.c.active, "true while it runs"),
        "last_active": Field(masters.c.last_active, "when it last checked in"),
    },
    paths=(
        Path("masters"),
        Path("masters/n:masterid"),
        Path("builders/n:builderid/masters", where=_runs_builder, hears=_hears_of_builder),
        Path("builders/n:builderid/masters/n:masterid", where=_runs_builder, hears=_hears_of_builder),
    ),
    events=("masters/{masterid}",),
    event_names=("new", "started", "stopped"),
    order=("masterid",),
)
