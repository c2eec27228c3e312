"""Commits connector: the history of codebases.

A commit's parent is stored before it, so a parent has the lower id. The common ancestor of two commits is found in
steps: replace the one with the higher id by its parent, until both are the same. One statement takes up to ``WINDOW``
steps, so that neither the database nor this process ever holds more of the history.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Protocol, cast

from sqlalchemy import bindparam, case, func, insert, literal_column, select
from sqlalchemy.engine import Connection

from buildbot.db.base import Connector, DBConnectorComponent
from buildbot.db.codebases import CodebasesConnectorComponent
from buildbot.db.dialects.context import transaction_of
from buildbot.db.dialects.expressions import IdIn, fixed
from buildbot.db.engine.rows import reader_of
from buildbot.db.engine.statements import Insert, Statement, by_name
from buildbot.db.operations import reads_short, snapshots, writes
from buildbot.resources.buildrequests import buildrequests
from buildbot.resources.builds import builds
from buildbot.resources.buildsets import buildsets
from buildbot.resources.codebases import codebases
from buildbot.resources.commits import COMMIT, CommitDict, CommitGraphDict, commits
from buildbot.resources.sourcestamps import sourcestamps, sourcestampset_members
from buildbot.resources.test_result_sets import test_result_sets
from buildbot.util import checks

#: steps of one recursive statement; MySQL and MariaDB allow 1,000
WINDOW = 500

_add = Insert(insert(commits).values(by_name(column for column in commits.columns if column.name != "id")))
_by_revision = Statement(
    select(commits.c.id).where(
        commits.c.codebaseid == bindparam("codebaseid"), commits.c.revision_hash == bindparam("revision_hash")
    )
)
_of_codebase = Statement(
    select(commits.c.id).where(commits.c.id == bindparam("commitid"), commits.c.codebaseid == bindparam("codebaseid"))
)


def _towards_each_other() -> Any:
    """The two commits after some steps, the latest first; 0 is the parent of a first commit."""
    first, second = commits.alias("first"), commits.alias("second")
    pair = (
        select(first.c.id.label("a"), second.c.id.label("b"), literal_column("0").label("steps"))
        .where(first.c.id == bindparam("commitid1"), second.c.id == bindparam("commitid2"))
        .cte("pair", recursive=True)
    )
    higher = case((pair.c.a > pair.c.b, pair.c.a), else_=pair.c.b)
    parent = func.coalesce(commits.c.parent_commitid, 0)
    step = (
        select(
            case((pair.c.a > pair.c.b, parent), else_=pair.c.a),
            case((pair.c.a > pair.c.b, pair.c.b), else_=parent),
            pair.c.steps + 1,
        )
        .join_from(pair, commits, commits.c.id == higher)
        .where(pair.c.a != pair.c.b, pair.c.a > 0, pair.c.b > 0, pair.c.steps < WINDOW)
    )
    pair = pair.union_all(step)
    return select(pair.c.a, pair.c.b).order_by(pair.c.steps.desc()).limit(fixed(1))


def _back() -> Any:
    """A commit and its ancestors, down to a given one: (id, parent's id)."""
    line = (
        select(
            commits.c.id.label("id"),
            func.coalesce(commits.c.parent_commitid, 0).label("parent"),
            literal_column("0").label("steps"),
        )
        .where(commits.c.id == bindparam("commitid"))
        .cte("line", recursive=True)
    )
    step = (
        select(commits.c.id, func.coalesce(commits.c.parent_commitid, 0), line.c.steps + 1)
        .join_from(line, commits, commits.c.id == line.c.parent)
        .where(line.c.id > bindparam("ancestor"), line.c.steps < WINDOW)
    )
    line = line.union_all(step)
    return select(line.c.id, line.c.parent).order_by(line.c.steps)


_revisions = Statement(select(commits.c.revision).where(IdIn(commits.c.id)))
_meet = Statement(_towards_each_other())
_line = Statement(_back())
_tested = Statement(
    select(test_result_sets.c.id)
    .distinct()
    .select_from(commits)
    .join(codebases, codebases.c.id == commits.c.codebaseid)
    .join(sourcestamps, (sourcestamps.c.revision == commits.c.revision) & (sourcestamps.c.codebase == codebases.c.name))
    .join(sourcestampset_members, sourcestampset_members.c.ssid == sourcestamps.c.id)
    .join(buildsets, buildsets.c.sourcestampsetid == sourcestampset_members.c.sourcestampsetid)
    .join(buildrequests, buildrequests.c.buildsetid == buildsets.c.id)
    .join(builds, builds.c.buildrequestid == buildrequests.c.id)
    .join(test_result_sets, test_result_sets.c.buildid == builds.c.id)
    .where(IdIn(commits.c.id))
)


class _Connector(Connector, Protocol):
    """The connector, with the other components that this one calls."""

    codebases: CodebasesConnectorComponent


class CommitsConnectorComponent(DBConnectorComponent):
    """Commits; at ``master.db.commits``. Dictionaries are those of the Data API."""

    db: _Connector

    def thdAddCommit(
        self,
        conn: Connection,
        codebaseid: int,
        author: str,
        comments: str,
        revision: str,
        committer: str | None = None,
        when_timestamp: int | None = None,
        parent_commitid: int | None = None,
    ) -> tuple[int, bool]:
        """Add a commit. If the codebase has a commit of this revision, that one stays as it is.

        Args:
            when_timestamp: Unix seconds, default now.
            parent_commitid: a commit of the same codebase, added before; None for the first.

        Returns:
            its commitid, and whether it is new.

        Raises:
            ValueError: there is no such codebase, or it has no such parent; nothing is written.
        """
        row = {
            "codebaseid": checks.identifier(codebaseid, "codebaseid"),
            "author": checks.text(author, "author"),
            "committer": checks.optional_text(committer, "committer"),
            "comments": checks.text(comments, "comments"),
            "when_timestamp": transaction_of(conn).now
            if when_timestamp is None
            else checks.seconds(when_timestamp, "when_timestamp"),
            "revision": checks.text(revision, "revision"),
            "revision_hash": checks.name_hash(revision),
            "parent_commitid": parent_commitid,
        }
        if parent_commitid is not None:
            self.thdCheck(conn, parent_commitid, codebaseid, "parent_commitid")
        self.db.codebases.thdLock(conn, codebaseid)
        found = _by_revision.scalar(conn, codebaseid=codebaseid, revision_hash=row["revision_hash"])
        return (int(found), False) if found is not None else (_add.id(conn, **row), True)

    addCommit = writes(thdAddCommit)

    def thdGetCommit(self, conn: Connection, commitid: int) -> CommitDict | None:
        """The commit with this id, or None."""
        wanted = checks.identifier(commitid, "commitid")
        return cast(CommitDict | None, reader_of(COMMIT).by_ids(conn, [wanted]).get(wanted))

    getCommit = reads_short(thdGetCommit)

    def thdGetCommitByRevision(self, conn: Connection, codebaseid: int, revision: str) -> CommitDict | None:
        """The commit of a codebase with this revision, or None."""
        found = _by_revision.scalar(
            conn,
            codebaseid=checks.identifier(codebaseid, "codebaseid"),
            revision_hash=checks.name_hash(checks.text(revision, "revision")),
        )
        return None if found is None else self.thdGetCommit(conn, found)

    getCommitByRevision = snapshots(thdGetCommitByRevision)

    def thdGetCommonParent(self, conn: Connection, commitid1: int, commitid2: int) -> int | None:
        """The nearest common ancestor of two commits, perhaps one of them; None if there is none, or no such commit."""
        a, b = checks.identifier(commitid1, "commitid1"), checks.identifier(commitid2, "commitid2")
        while True:
            met = _meet.first(conn, commitid1=a, commitid2=b)
            if met is None or 0 in met:
                return None
            a, b = met
            if a == b:
                return int(a)

    getCommonParent = snapshots(thdGetCommonParent)

    def thdGetCommitGraph(self, conn: Connection, commitid1: int, commitid2: int) -> CommitGraphDict | None:
        """How two commits are related; None if they have no common ancestor, or do not exist."""
        common = self.thdGetCommonParent(conn, commitid1, commitid2)
        if common is None:
            return None
        to1, to2 = ([x for window in _windows(conn, end, common) for x in window] for end in (commitid1, commitid2))
        return {"common": common, "to1": to1[::-1], "to2": to2[::-1]}

    getCommitGraph = snapshots(thdGetCommitGraph)

    # -- for the Data layer -------------------------------------------------------------------------

    def thdCheck(self, conn: Connection, commitid: int, codebaseid: int, what: str) -> None:
        """Make sure that a codebase has a commit. ValueError, naming ``what``, if not."""
        if _of_codebase.first(conn, commitid=checks.identifier(commitid, what), codebaseid=codebaseid) is None:
            raise ValueError(f"{what}: codebase {codebaseid} has no commit {commitid}")

    def thdTestResultSets(self, conn: Connection, commitid1: int, commitid2: int) -> list[int]:
        """Ids of the test result sets of two commits, of their common ancestor, and of the commits between."""
        found: set[int] = set()
        for window in self._range(conn, commitid1, commitid2):
            found.update(row[0] for row in _tested.all(conn, ids=window))
        return sorted(found)

    def thdGetRange(self, conn: Connection, commitid1: int, commitid2: int) -> list[int]:
        """Ids of two commits, of their common ancestor, and of the commits between; none without a common ancestor."""
        return sorted({commitid for window in self._range(conn, commitid1, commitid2) for commitid in window})

    def thdGetRevisions(self, conn: Connection, commitids: Collection[int]) -> list[str]:
        """The revisions of commits."""
        return [row[0] for row in _revisions.all(conn, ids=list(commitids))] if commitids else []

    def _range(self, conn: Connection, commitid1: int, commitid2: int) -> Iterator[list[int]]:
        common = self.thdGetCommonParent(conn, commitid1, commitid2)
        if common is not None:
            for end in (commitid1, commitid2):
                yield from _windows(conn, end, common)


def _windows(conn: Connection, commitid: int, ancestor: int) -> Iterator[list[int]]:
    """The commits from one back to an ancestor, both included, some at a time."""
    at = commitid
    while at >= ancestor:
        rows = _line.all(conn, commitid=at, ancestor=ancestor)
        yield [row[0] for row in rows]
        if rows[-1][0] == ancestor:
            return
        at = rows[-1][1]
