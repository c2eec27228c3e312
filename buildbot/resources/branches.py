"""Branches: the ends of the lines of a codebase's history."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Index, Text

from buildbot.resources.base import Field, Hash, Id, LinkTo, Path, Resource, UnixTime, id_column, table

branches = table(
    "branches",
    id_column(),
    Column("codebaseid", Id, ForeignKey("codebases.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_hash", Hash, nullable=False),
    Column("commitid", Id, ForeignKey("commits.id", ondelete="SET NULL"), index=True),
    Column("last_timestamp", UnixTime, nullable=False),
    Index("uq_branches_codebaseid_name_hash", "codebaseid", "name_hash", unique=True),
)


class BranchDict(TypedDict):
    """A branch, in the connector and in the Data API."""

    branchid: int
    codebaseid: int
    name: str
    commitid: int | None
    last_timestamp: int


BRANCH = Resource(
    "branch",
    "branches",
    table=branches,
    key="branchid",
    announced=False,
    doc="The end of a line of a codebase's history.",
    entity=BranchDict,
    fields={
        "branchid": Field(branches.c.id, "unique in the installation"),
        "codebaseid": Field(branches.c.codebaseid, "its codebase"),
        "name": Field(branches.c.name, "unique in its codebase"),
        "commitid": Field(branches.c.commitid, "its newest commit, if that is known"),
        "last_timestamp": Field(branches.c.last_timestamp, "when it was last seen to change"),
    },
    paths=(Path("branches/n:branchid"), Path("codebases/n:codebaseid/branches")),
    events=("branches/{branchid}",),
    event_names=("update",),
    links={"codebase": LinkTo("codebases/{codebaseid}"), "commit": LinkTo("commits/{commitid}")},
    order=("branchid",),
)
