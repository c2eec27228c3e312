"""Changes: commits that change sources have found."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import Column, ForeignKey, Index, Text, bindparam, or_, select, text

from buildbot.resources.base import (
    Either,
    Embedded,
    Equals,
    Field,
    Flag,
    Hash,
    Id,
    JsonText,
    Known,
    LinkTo,
    ListText,
    Path,
    Resource,
    UnixTime,
    id_column,
    table,
    text_index,
)
from buildbot.resources.buildrequests import buildrequests
from buildbot.resources.builds import builds
from buildbot.resources.buildsets import buildsets
from buildbot.resources.sourcestamps import (
    STAMP_COLUMNS,
    SourceStampDict,
    patches,
    sourcestamps,
    sourcestampset_changes,
)

changes = table(
    "changes",
    id_column(),
    Column("author", Text, nullable=False),
    Column("committer", Text),
    Column("comments", Text, nullable=False),
    Column("is_dir", Flag, nullable=False, server_default=text("0")),
    Column("revision", Text),
    Column("branch", Text),
    Column("category", Text),
    Column("revlink", Text),
    Column("when_timestamp", UnixTime, nullable=False, index=True),
    Column("repository", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("codebase", Text, nullable=False),
    Column("files", ListText, nullable=False),
    Column("links", JsonText, nullable=False),
    # {name: [value, source]}; never changes, so it lives on the row
    Column("properties", JsonText, nullable=False),
    Column("parent_changeids", JsonText, nullable=False),
    Column("sourcestampid", Id, ForeignKey("sourcestamps.id"), nullable=False, index=True),
    # hash of repository, project, codebase and branch: finds the change before this one
    Column("history_hash", Hash, nullable=False),
    Index("ix_changes_history_hash_id", "history_hash", "id"),
    text_index("changes", "revision"),
)


class ChangeDict(TypedDict):
    """A change in the Data API."""

    changeid: int
    parent_changeids: list[int]
    author: str
    committer: str | None
    files: list[str]
    comments: str
    revision: str | None
    branch: str | None
    category: str | None
    revlink: str | None
    when_timestamp: int
    properties: dict[str, list[Any]]
    repository: str
    project: str
    codebase: str
    sourcestamp: SourceStampDict


class DbChangeDict(TypedDict):
    """A change in the connector."""

    changeid: int
    author: str
    committer: str | None
    comments: str
    is_dir: int
    revision: str | None
    branch: str | None
    category: str | None
    revlink: str | None
    when_timestamp: datetime
    repository: str
    project: str
    codebase: str
    files: list[str]
    links: list[str]
    properties: dict[str, tuple[Any, str]]
    parent_changeids: list[int]
    sourcestampid: int


CHANGE = Resource(
    "change",
    "changes",
    table=changes,
    source=changes.join(sourcestamps, sourcestamps.c.id == changes.c.sourcestampid).outerjoin(
        patches, patches.c.id == sourcestamps.c.patchid
    ),
    key="changeid",
    announced=True,
    doc="A commit that a change source has found.",
    growing=True,
    entity=ChangeDict,
    db_entity=DbChangeDict,
    fields={
        "changeid": Field(changes.c.id, "unique in the installation"),
        "parent_changeids": Field(
            changes.c.parent_changeids, "the change before it on the same branch, or nothing", kind="list", of="int"
        ),
        "author": Field(changes.c.author, "Name <mail>"),
        "committer": Field(changes.c.committer, "Name <mail>, if known"),
        "files": Field(changes.c.files, "names of the files changed"),
        "comments": Field(changes.c.comments, "what the author said"),
        "revision": Field(changes.c.revision, "None if unknown"),
        "branch": Field(changes.c.branch, "None for the default branch"),
        "category": Field(changes.c.category, "of the user's choice"),
        "revlink": Field(changes.c.revlink, "a web view of it"),
        "when_timestamp": Field(changes.c.when_timestamp, "when it was made"),
        "properties": Field(changes.c.properties, "{name: [value, 'Change']}"),
        "repository": Field(changes.c.repository, "empty when unset"),
        "project": Field(changes.c.project, "empty when unset"),
        "codebase": Field(changes.c.codebase, "empty when unset"),
        "sourcestamp": Embedded(STAMP_COLUMNS, "the source stamp of its code", key=changes.c.sourcestampid),
    },
    paths=(
        Path("changes"),
        Path("changes/n:changeid"),
        Path(
            "sourcestamps/n:ssid/changes",
            where=or_(
                changes.c.sourcestampid == bindparam("ssid"),
                changes.c.id.in_(
                    select(sourcestampset_changes.c.changeid).where(sourcestampset_changes.c.ssid == bindparam("ssid"))
                ),
            ),
            hears=Either((Equals("sourcestamp.ssid", "ssid"), Known())),
        ),
        Path(
            "builds/n:buildid/changes",
            where=changes.c.id.in_(
                select(sourcestampset_changes.c.changeid)
                .join(buildsets, buildsets.c.sourcestampsetid == sourcestampset_changes.c.sourcestampsetid)
                .join(buildrequests, buildrequests.c.buildsetid == buildsets.c.id)
                .join(builds, builds.c.buildrequestid == buildrequests.c.id)
                .where(builds.c.id == bindparam("buildid"))
            ),
            # a change is there before its builds, and after them
            hears=Known(),
        ),
        Path(
            "builders/n:builderid/builds/n:build_number/changes",
            where=changes.c.id.in_(
                select(sourcestampset_changes.c.changeid)
                .join(buildsets, buildsets.c.sourcestampsetid == sourcestampset_changes.c.sourcestampsetid)
                .join(buildrequests, buildrequests.c.buildsetid == buildsets.c.id)
                .join(builds, builds.c.buildrequestid == buildrequests.c.id)
                .where(builds.c.builderid == bindparam("builderid"), builds.c.number == bindparam("build_number"))
            ),
            hears=Known(),
        ),
    ),
    events=("changes/{changeid}",),
    event_names=("new", "deleted"),
    links={"builds": LinkTo("changes/{changeid}/builds")},
    order=("-changeid",),
)
