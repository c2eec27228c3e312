"""Change sources: they watch repositories."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Text, bindparam, exists

from buildbot.resources.base import Embedded, Equals, Field, Hash, Id, Path, Resource, id_column, table
from buildbot.resources.masters import MASTER_COLUMNS, MasterDict, masters

changesources = table(
    "changesources",
    id_column(),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False, unique=True),
)

changesource_masters = table(
    "changesource_masters",
    Column(
        "changesourceid", Id, ForeignKey("changesources.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("masterid", Id, ForeignKey("masters.id", ondelete="CASCADE"), nullable=False, index=True),
)

_on_master = (
    exists()
    .where(
        changesource_masters.c.changesourceid == changesources.c.id,
        changesource_masters.c.masterid == bindparam("masterid"),
    )
    .correlate(changesources)
)
_hears_of_master = Equals("master.masterid", "masterid")


class ChangeSourceDict(TypedDict):
    """A change source in the Data API."""

    changesourceid: int
    name: str
    master: MasterDict | None


class DbChangeSourceDict(TypedDict):
    """A change source in the connector."""

    id: int
    name: str
    masterid: int | None


CHANGESOURCE = Resource(
    "changesource",
    "changesources",
    table=changesources,
    source=changesources.outerjoin(
        changesource_masters, changesource_masters.c.changesourceid == changesources.c.id
    ).outerjoin(masters, masters.c.id == changesource_masters.c.masterid),
    key="changesourceid",
    announced=False,
    made="updated",
    doc="A watcher of repositories; at most one master runs it.",
    entity=ChangeSourceDict,
    db_entity=DbChangeSourceDict,
    fields={
        "changesourceid": Field(changesources.c.id, "unique in the installation", db_key="id"),
        "name": Field(changesources.c.name, "as configured"),
        "master": Embedded(MASTER_COLUMNS, "the master that runs it, or None"),
    },
    paths=(
        Path("changesources"),
        Path("changesources/n:changesourceid"),
        Path("masters/n:masterid/changesources", where=_on_master, hears=_hears_of_master),
        Path("masters/n:masterid/changesources/n:changesourceid", where=_on_master, hears=_hears_of_master),
    ),
    events=("changesources/{changesourceid}",),
    event_names=("updated",),
    order=("changesourceid",),
)
