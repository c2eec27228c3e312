"""Schedulers and force schedulers: they decide what is built."""

from __future__ import annotations

from typing import Any, TypedDict

from sqlalchemy import Column, ForeignKey, Text, bindparam, exists, select, text

from buildbot.resources.base import (
    Embedded,
    Equals,
    Field,
    Flag,
    Hash,
    Id,
    JsonText,
    Path,
    Related,
    Resource,
    id_column,
    table,
)
from buildbot.resources.builders import builders
from buildbot.resources.masters import MASTER_COLUMNS, MasterDict, masters

schedulers = table(
    "schedulers",
    id_column(),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False, unique=True),
    Column("enabled", Flag, nullable=False, server_default=text("1")),
    # the form of a force scheduler; all NULL for other schedulers
    Column("force_button_name", Text),
    Column("force_label", Text),
    Column("force_fields", JsonText),
)

scheduler_masters = table(
    "scheduler_masters",
    Column("schedulerid", Id, ForeignKey("schedulers.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("masterid", Id, ForeignKey("masters.id", ondelete="CASCADE"), nullable=False, index=True),
)

#: changes that wait for their build in a scheduler
scheduler_changes = table(
    "scheduler_changes",
    Column("objectid", Id, ForeignKey("objects.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column(
        "changeid", Id, ForeignKey("changes.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, index=True
    ),
    Column("important", Flag, nullable=False),
)

#: builders that a force scheduler may force
force_builders = table(
    "force_builders",
    Column("schedulerid", Id, ForeignKey("schedulers.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column(
        "builderid",
        Id,
        ForeignKey("builders.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        index=True,
    ),
)

_on_master = (
    exists()
    .where(scheduler_masters.c.schedulerid == schedulers.c.id, scheduler_masters.c.masterid == bindparam("masterid"))
    .correlate(schedulers)
)
_hears_of_master = Equals("master.masterid", "masterid")


class SchedulerDict(TypedDict):
    """A scheduler in the Data API."""

    schedulerid: int
    name: str
    enabled: bool
    master: MasterDict | None


class DbSchedulerDict(TypedDict):
    """A scheduler in the connector."""

    id: int
    name: str
    masterid: int | None
    enabled: bool


SCHEDULER = Resource(
    "scheduler",
    "schedulers",
    table=schedulers,
    source=schedulers.outerjoin(scheduler_masters, scheduler_masters.c.schedulerid == schedulers.c.id).outerjoin(
        masters, masters.c.id == scheduler_masters.c.masterid
    ),
    key="schedulerid",
    announced=False,
    made="updated",
    doc="A scheduler, which decides what is built; at most one master runs it.",
    entity=SchedulerDict,
    db_entity=DbSchedulerDict,
    fields={
        "schedulerid": Field(schedulers.c.id, "unique in the installation", db_key="id"),
        "name": Field(schedulers.c.name, "as configured"),
        "enabled": Field(schedulers.c.enabled, "false if it was switched off"),
        "master": Embedded(MASTER_COLUMNS, "the master that runs it, or None"),
    },
    paths=(
        Path("schedulers"),
        Path("schedulers/n:schedulerid"),
        Path("masters/n:masterid/schedulers", where=_on_master, hears=_hears_of_master),
        Path("masters/n:masterid/schedulers/n:schedulerid", where=_on_master, hears=_hears_of_master),
    ),
    events=("schedulers/{schedulerid}",),
    event_names=("updated",),
    order=("schedulerid",),
)


class ForceSchedulerDict(TypedDict):
    """A force scheduler in the Data API."""

    name: str
    button_name: str | None
    label: str | None
    all_fields: list[dict[str, Any]]
    builder_names: list[str]
    enabled: bool


FORCESCHEDULER = Resource(
    "forcescheduler",
    "forceschedulers",
    table=schedulers,
    key="name",
    announced=False,
    doc="A scheduler that people start by hand, with its form.",
    where=schedulers.c.force_fields.is_not(None),
    entity=ForceSchedulerDict,
    fields={
        "name": Field(schedulers.c.name, "as configured"),
        "button_name": Field(schedulers.c.force_button_name, "text of its button"),
        "label": Field(schedulers.c.force_label, "title of its form"),
        "all_fields": Field(schedulers.c.force_fields, "its form: nested descriptions of parameters"),
        "builder_names": Related(
            select(force_builders.c.schedulerid, builders.c.name)
            .join(builders, builders.c.id == force_builders.c.builderid)
            .order_by(builders.c.name),
            "values",
            "builders that it may force",
        ),
        "enabled": Field(schedulers.c.enabled, "false if it was switched off"),
    },
    paths=(
        Path("forceschedulers"),
        Path("forceschedulers/i:schedulername", where=schedulers.c.name == bindparam("schedulername")),
        Path(
            "builders/n:builderid/forceschedulers",
            where=exists()
            .where(
                force_builders.c.schedulerid == schedulers.c.id, force_builders.c.builderid == bindparam("builderid")
            )
            .correlate(schedulers),
        ),
    ),
    order=("name",),
)
