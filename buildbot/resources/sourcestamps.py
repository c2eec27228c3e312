"""Source stamps, which name code exactly, and sets of them."""

from __future__ import annotations

from typing import Any, TypedDict

from sqlalchemy import Column, ForeignKey, Index, Integer, Text, bindparam, column, null, select
from sqlalchemy import table as named_table
from sqlalchemy.sql import ColumnElement

from buildbot.resources.base import (
    Embedded,
    Field,
    Hash,
    Id,
    Known,
    LinkTo,
    Path,
    Resource,
    UnixTime,
    id_column,
    table,
    text_index,
)

sourcestampsets = table("sourcestampsets", id_column())

patches = table(
    "patches",
    id_column(),
    Column("level", Integer, nullable=False),
    Column("subdir", Text),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("body", Text, nullable=False),
)

sourcestamps = table(
    "sourcestamps",
    id_column(),
    # the set that it was made for; NULL for the source stamp of a change
    Column("sourcestampsetid", Id, ForeignKey("sourcestampsets.id"), index=True),
    # equal for equal code; NULL for source stamps that must not be shared
    Column("content_hash", Hash, unique=True),
    Column("branch", Text),
    Column("revision", Text),
    Column("repository", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("codebase", Text, nullable=False),
    Column("patchid", Id, ForeignKey("patches.id"), index=True),
    Column("created_at", UnixTime, nullable=False),
    text_index("sourcestamps", "revision"),
)

#: a source stamp may belong to several sets: equal code has one source stamp
sourcestampset_members = table(
    "sourcestampset_members",
    Column("sourcestampsetid", Id, ForeignKey("sourcestampsets.id"), primary_key=True, autoincrement=False),
    Column("ssid", Id, ForeignKey("sourcestamps.id"), primary_key=True, autoincrement=False, index=True),
)

#: the changes for which a source stamp became part of a set
sourcestampset_changes = table(
    "sourcestampset_changes",
    Column("sourcestampsetid", Id, ForeignKey("sourcestampsets.id"), primary_key=True, autoincrement=False),
    Column("ssid", Id, ForeignKey("sourcestamps.id"), primary_key=True, autoincrement=False),
    Column("changeid", Id, ForeignKey("changes.id"), primary_key=True, autoincrement=False),
    Index("ix_sourcestampset_changes_changeid", "changeid"),
    Index("ix_sourcestampset_changes_ssid", "ssid"),
)

_PATCH: dict[str, ColumnElement[Any]] = {
    "patchid": patches.c.id,
    "level": patches.c.level,
    "subdir": patches.c.subdir,
    "author": patches.c.author,
    "comment": patches.c.comment,
    "body": patches.c.body,
}

_OWN: tuple[ColumnElement[Any], ...] = (
    sourcestamps.c.id.label("ssid"),
    sourcestamps.c.branch,
    sourcestamps.c.revision,
    sourcestamps.c.repository,
    sourcestamps.c.project,
    sourcestamps.c.codebase,
    sourcestamps.c.created_at,
)

#: columns of a source stamp that is embedded in another noun; its patch is nested
STAMP_COLUMNS: tuple[ColumnElement[Any], ...] = (
    *_OWN,
    *(column.label(f"patch__{name}") for name, column in _PATCH.items()),
)

#: the row of a source stamp without patch: its id, then the columns above
UNPATCHED_COLUMNS: tuple[ColumnElement[Any], ...] = (
    sourcestamps.c.id.label("_id"),
    *_OWN,
    *(null().label(f"patch__{name}") for name in _PATCH),
)

#: by name, since buildsets embed source stamps and so import this file
_buildsets = named_table("buildsets", column("id"), column("sourcestampsetid"))


class SourceStampDict(TypedDict):
    """A source stamp in the Data API."""

    ssid: int
    branch: str | None
    revision: str | None
    repository: str
    project: str
    codebase: str
    created_at: int
    patch: dict[str, Any] | None


class DbSourceStampDict(TypedDict):
    """A source stamp in the connector."""

    ssid: int
    sourcestampsetid: int | None
    branch: str | None
    revision: str | None
    repository: str
    project: str
    codebase: str
    patch_body: str | None
    patch_level: int | None
    patch_subdir: str | None
    patch_author: str | None
    patch_comment: str | None
    changeids: list[int]


SOURCESTAMP = Resource(
    "sourcestamp",
    "sourcestamps",
    table=sourcestamps,
    source=sourcestamps.outerjoin(patches, patches.c.id == sourcestamps.c.patchid),
    key="ssid",
    announced=True,
    doc="The exact code of a build; equal code has one source stamp.",
    growing=True,
    entity=SourceStampDict,
    db_entity=DbSourceStampDict,
    fields={
        "ssid": Field(sourcestamps.c.id, "unique in the installation"),
        "branch": Field(sourcestamps.c.branch, "None for the default branch"),
        "revision": Field(sourcestamps.c.revision, "None for the latest"),
        "repository": Field(sourcestamps.c.repository, "empty when unset"),
        "project": Field(sourcestamps.c.project, "empty when unset"),
        "codebase": Field(sourcestamps.c.codebase, "empty when unset"),
        "created_at": Field(sourcestamps.c.created_at, "when it was first used"),
        "patch": Embedded(
            tuple(column.label(name) for name, column in _PATCH.items()), "a patch to apply on top, or None"
        ),
    },
    paths=(
        Path("sourcestamps"),
        Path("sourcestamps/n:ssid"),
        Path(
            "buildsets/n:buildsetid/sourcestamps",
            where=sourcestamps.c.id.in_(
                select(sourcestampset_members.c.ssid).where(
                    sourcestampset_members.c.sourcestampsetid
                    == select(_buildsets.c.sourcestampsetid)
                    .where(_buildsets.c.id == bindparam("buildsetid"))
                    .scalar_subquery()
                )
            ),
            hears=Known(),
        ),
    ),
    events=("sourcestamps/{ssid}",),
    event_names=("deleted",),
    links={"changes": LinkTo("sourcestamps/{ssid}/changes")},
    order=("ssid",),
)
