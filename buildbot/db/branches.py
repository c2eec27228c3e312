"""Branches connector: the ends of the lines of a codebase's history."""

from __future__ import annotations

from typing import Protocol, cast

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import Connector, DBConnectorComponent
from buildbot.db.codebases import CodebasesConnectorComponent
from buildbot.db.commits import CommitsConnectorComponent
from buildbot.db.dialects.context import transaction_of
from buildbot.db.engine.rows import reader_of
from buildbot.db.engine.statements import Insert, Statement, by_name
from buildbot.db.operations import reads_short, snapshots, writes
from buildbot.resources.branches import BRANCH, BranchDict, branches
from buildbot.util import checks

_find = Statement(
    select(branches.c.id).where(
        branches.c.codebaseid == bindparam("codebaseid"), branches.c.name_hash == bindparam("name_hash")
    )
)
_of_codebase = Statement(
    select(branches.c.id).where(branches.c.codebaseid == bindparam("codebaseid")).order_by(branches.c.id)
)
_add = Insert(insert(branches).values(by_name(column for column in branches.columns if column.name != "id")))
_move = Statement(
    update(branches)
    .where(branches.c.id == bindparam("branchid"))
    .values(commitid=bindparam("new_commitid"), last_timestamp=bindparam("at"))
)


class _Connector(Connector, Protocol):
    """The connector, with the other components that this one calls."""

    commits: CommitsConnectorComponent
    codebases: CodebasesConnectorComponent


class BranchesConnectorComponent(DBConnectorComponent):
    """Branches; at ``master.db.branches``. Dictionaries are those of the Data API."""

    db: _Connector

    def thdGetBranch(self, conn: Connection, branchid: int) -> BranchDict | None:
        """The branch with this id, or None."""
        wanted = checks.identifier(branchid, "branchid")
        return cast(BranchDict | None, reader_of(BRANCH).by_ids(conn, [wanted]).get(wanted))

    getBranch = reads_short(thdGetBranch)

    def thdGetBranches(self, conn: Connection, codebaseid: int) -> list[BranchDict]:
        """The branches of a codebase, by id."""
        ids = [row[0] for row in _of_codebase.all(conn, codebaseid=checks.identifier(codebaseid, "codebaseid"))]
        found = reader_of(BRANCH).by_ids(conn, ids)
        return [cast(BranchDict, found[branchid]) for branchid in ids]

    getBranches = snapshots(thdGetBranches)

    def thdUpdateBranch(
        self,
        conn: Connection,
        codebaseid: int,
        name: str,
        commitid: int | None = None,
        last_timestamp: int | None = None,
    ) -> int:
        """Set the last commit of a branch, and since when (Unix seconds, default: now); the branch is added if it is
        new.

        Returns:
            its branchid.

        Raises:
            ValueError: there is no such codebase, or it has no such commit.
        """
        this = {
            "codebaseid": checks.identifier(codebaseid, "codebaseid"),
            "name_hash": checks.name_hash(checks.text(name, "name")),
        }
        at = transaction_of(conn).now if last_timestamp is None else checks.seconds(last_timestamp, "last_timestamp")
        if commitid is not None:
            self.db.commits.thdCheck(conn, commitid, codebaseid, "commitid")
        found = _find.scalar(conn, **this)
        if found is None:
            self.db.codebases.thdLock(conn, codebaseid)
            found = _find.scalar(conn, **this)
        if found is None:
            return _add.id(conn, **this, name=name, commitid=commitid, last_timestamp=at)
        _move.run(conn, branchid=found, new_commitid=commitid, at=at)
        return int(found)

    updateBranch = writes(thdUpdateBranch)
