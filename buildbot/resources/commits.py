"""Commits: the history of a codebase."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import Column, ForeignKey, Index, Text

from buildbot.resources.base import (
    Field,
    Hash,
    Id,
    LinkTo,
    Path,
    Resource,
    UnixTime,
    id_column,
    table,
    text_index,
)

commits = table(
    "commits",
    id_column(),
    Column("codebaseid", Id, ForeignKey("codebases.id", ondelete="CASCADE"), nullable=False),
    Column("author", Text, nullable=False),
    Column("committer", Text),
    Column("comments", Text, nullable=False),
    Column("when_timestamp", UnixTime, nullable=False),
    Column("revision", Text, nullable=False),
    Column("revision_hash", Hash, nullable=False),
    # stored before this one, so that its id is lower: histories have no circles
    Column("parent_commitid", Id, ForeignKey("commits.id", ondelete="SET NULL"), index=True),
    Index("uq_commits_codebaseid_revision_hash", "codebaseid", "revision_hash", unique=True),
    Index("ix_commits_codebaseid_id", "codebaseid", "id"),
    text_index("commits", "revision"),
)


class CommitDict(TypedDict):
    """A commit, in the connector and in the Data API."""

    commitid: int
    codebaseid: int
    author: str
    committer: str | None
    comments: str
    when_timestamp: int
    revision: str
    parent_commitid: int | None


class CommitGraphDict(TypedDict):
    """How two commits are related: ids from their nearest common ancestor, included, to each of them."""

    common: int
    to1: list[int]
    to2: list[int]


COMMIT = Resource(
    "commit",
    "commits",
    table=commits,
    key="commitid",
    announced=False,
    doc="A state in the history of a codebase.",
    entity=CommitDict,
    growing=True,
    fields={
        "commitid": Field(commits.c.id, "unique in the installation; higher than its parent's"),
        "codebaseid": Field(commits.c.codebaseid, "its codebase"),
        "author": Field(commits.c.author, "Name <mail>"),
        "committer": Field(commits.c.committer, "Name <mail>, if known"),
        "comments": Field(commits.c.comments, "what the author said"),
        "when_timestamp": Field(commits.c.when_timestamp, "when it was made"),
        "revision": Field(commits.c.revision, "unique in its codebase"),
        "parent_commitid": Field(commits.c.parent_commitid, "the commit before it, None for the first"),
    },
    paths=(
        Path("commits/n:commitid"),
        Path("codebases/n:codebaseid/commits"),
        Path("codebases/n:codebaseid/commits_by_revision/s:revision"),
    ),
    events=("commits/{commitid}", "codebases/{codebaseid}/commits/{commitid}"),
    event_names=("new",),
    links={"codebase": LinkTo("codebases/{codebaseid}"), "parent": LinkTo("commits/{parent_commitid}")},
    order=("commitid",),
)
