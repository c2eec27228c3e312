"""Changes connector."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from sqlalchemy import Text, bindparam, cast, func, insert, literal, select
from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.db import properties as property_pairs
from buildbot.db.base import Connector, DBConnectorComponent, Invalidation, cached
from buildbot.db.dialects.context import transaction_of
from buildbot.db.dialects.expressions import InHistory, NewestInHistory, fixed
from buildbot.db.engine.races import refusing_unknown
from buildbot.db.engine.rows import own_row
from buildbot.db.engine.statements import Insert, Row, Statement
from buildbot.db.operations import reads_list, reads_short, writes
from buildbot.db.sourcestamps import SourceStampsConnectorComponent
from buildbot.resources.changes import CHANGE, DbChangeDict, changes
from buildbot.resources.users import change_users
from buildbot.util import checks, jsontext
from buildbot.util.clock import to_datetime, to_seconds

#: the result of getters, under the name that plugins import
ChangeModel = DbChangeDict

_before = changes.alias("before")
#: the newest change of the same history, as a JSON list
_parents = func.coalesce(
    select(literal("[") + cast(_before.c.id, Text) + "]")
    .where(InHistory(_before.c.history_hash, bindparam("history_hash", type_=_before.c.history_hash.type)))
    .order_by(NewestInHistory(_before.c.history_hash, _before.c.id))
    .limit(fixed(1))
    .scalar_subquery(),
    "[]",
)
_given = [column for column in changes.columns if column.name not in ("id", "parent_changeids")]
#: SELECT instead of VALUES: MySQL refuses a subquery on the same table there
_add = Insert(
    insert(changes).from_select(
        [*(column.name for column in _given), "parent_changeids"],
        select(*(bindparam(column.name, type_=column.type) for column in _given), _parents),
    ),
    gives=own_row(CHANGE),
)
_add_user = Statement(insert(change_users).values(changeid=bindparam("changeid"), uid=bindparam("uid")))
_columns = (
    changes.c.id,
    changes.c.author,
    changes.c.committer,
    changes.c.comments,
    changes.c.is_dir,
    changes.c.revision,
    changes.c.branch,
    changes.c.category,
    changes.c.revlink,
    changes.c.when_timestamp,
    changes.c.repository,
    changes.c.project,
    changes.c.codebase,
    changes.c.files,
    changes.c.links,
    changes.c.properties,
    changes.c.parent_changeids,
    changes.c.sourcestampid,
)
_get = Statement(select(*_columns).where(changes.c.id == bindparam("changeid")))
_recent = Statement(select(*_columns).order_by(changes.c.id.desc()).limit(bindparam("count")))
_latest = Statement(select(func.max(changes.c.id)))
_uids = Statement(
    select(change_users.c.uid).where(change_users.c.changeid == bindparam("changeid")).order_by(change_users.c.uid)
)


def history_hash(repository: str, project: str, codebase: str, branch: str | None) -> str:
    """The hash of a history of changes: of repository, project, codebase and branch."""
    return checks.name_hash(repository, project, codebase, "0" if branch is None else "1" + branch)


class ChDict(dict[str, Any]):
    """A change; allows weak references."""


class _Connector(Connector, Protocol):
    """The connector, with the other components that this one calls."""

    sourcestamps: SourceStampsConnectorComponent


class ChangesConnectorComponent(DBConnectorComponent):
    """Changes; at ``master.db.changes``.

    A chdict has the keys ``changeid``, ``author``, ``files``, ``comments``, ``is_dir``, ``links``, ``revision``,
    ``when_timestamp`` (datetime), ``branch``, ``category``, ``revlink``, ``properties`` (``{name: (value, source)}``),
    ``repository``, ``project``, and besides ``codebase``, ``committer``, ``parent_changeids``, ``sourcestampid``.
    """

    db: _Connector
    invalidations = (Invalidation("chdicts", ("changes", None, "deleted")),)

    def thdAddChange(
        self,
        conn: Connection,
        *,
        author: str | None = None,
        files: Iterable[str] | None = None,
        comments: str | None = None,
        is_dir: int = 0,
        links: Iterable[str] | None = None,
        revision: str | None = None,
        when_timestamp: dt.datetime | None = None,
        branch: str | None = None,
        category: str | None = None,
        revlink: str | None = "",
        properties: Mapping[str, tuple[Any, str]] | None = None,
        repository: str = "",
        project: str = "",
        uid: int | None = None,
        codebase: str = "",
        committer: str | None = None,
    ) -> int:
        """Add a change and return its changeid; keywords only.

        Args:
            author, comments: text; None is stored as the empty text.
            files, links: lists of text, may be empty.
            when_timestamp: aware datetime, default now; stored in whole seconds.
            properties: ``{name: (value, 'Change')}`` with JSON values.
            repository, project, codebase: text, never None.
            uid: the user who made it.

        Raises:
            TypeError, ValueError: an argument is wrong; the text names it. Nothing is written.
        """
        pairs = property_pairs.checked({} if properties is None else properties)
        for name, (_, source) in pairs.items():
            if source != "Change":
                raise ValueError(f"properties[{name!r}]: the source must be 'Change', not {source!r}")
        now = transaction_of(conn).now
        branch = checks.optional_text(branch, "branch", checks.MAX_NAME)
        revision = checks.optional_text(revision, "revision", checks.MAX_NAME)
        repository = checks.text(repository, "repository", checks.MAX_NAME)
        project = checks.text(project, "project", checks.MAX_NAME)
        codebase = checks.text(codebase, "codebase", checks.MAX_NAME)
        line = history_hash(repository, project, codebase, branch)
        row = {
            "author": checks.text("" if author is None else author, "author", checks.MAX_NAME),
            "committer": checks.optional_text(committer, "committer", checks.MAX_NAME),
            "comments": checks.text("" if comments is None else comments, "comments", checks.MAX_COMMENTS),
            "is_dir": int(checks.boolean(is_dir, "is_dir")),
            "revision": revision,
            "branch": branch,
            "category": checks.optional_text(category, "category", checks.MAX_NAME),
            "revlink": checks.optional_text(revlink, "revlink", checks.MAX_NAME),
            "when_timestamp": now if when_timestamp is None else to_seconds(when_timestamp, "when_timestamp"),
            "repository": repository,
            "project": project,
            "codebase": codebase,
            "files": jsontext.dump_list(checks.texts(() if files is None else files, "files", checks.MAX_FILES)),
            "links": jsontext.dump_list(checks.texts(() if links is None else links, "links", checks.MAX_FILES)),
            "properties": property_pairs.dumps(pairs),
            "history_hash": line,
        }
        if uid is not None:
            checks.identifier(uid, "uid")
        row["sourcestampid"], _ = self.db.sourcestamps.thdFindSourceStamp(
            conn, branch, revision, repository, project, codebase, expect_new=True
        )
        changeid = _add.id(conn, **row)
        if uid is not None:
            with refusing_unknown(conn, f"uid: there is no user {uid}"):
                _add_user.run(conn, changeid=changeid, uid=uid)
        return changeid

    addChange = writes(thdAddChange)

    @cached("chdicts")
    def getChange(self, changeid: int) -> Deferred[ChDict | None]:
        """The change with this id, or None.

        ``no_cache``: read the database even if the change is cached.
        """
        return self.db.pool.read_short(self.thdGetChange, changeid)

    def thdGetChange(self, conn: Connection, changeid: int) -> ChDict | None:
        """The change with this id, or None."""
        row = _get.first(conn, changeid=checks.identifier(changeid, "changeid"))
        return None if row is None else _chdict(row)

    def thdGetChangeUids(self, conn: Connection, changeid: int) -> list[int]:
        """Ids of the users of a change."""
        return [row[0] for row in _uids.all(conn, changeid=checks.identifier(changeid, "changeid"))]

    getChangeUids = reads_short(thdGetChangeUids)

    def thdGetRecentChanges(self, conn: Connection, count: int) -> list[ChDict]:
        """The newest ``count`` changes by id, ascending."""
        rows = _recent.all(conn, count=checks.integer(count, "count", maximum=checks.MAX_INT))
        return [_chdict(row) for row in reversed(rows)]

    getRecentChanges = reads_list(thdGetRecentChanges)

    def thdGetLatestChangeid(self, conn: Connection) -> int | None:
        """The newest changeid, or None if there is no change."""
        return _latest.scalar(conn)  # type: ignore[no-any-return]

    getLatestChangeid = reads_short(thdGetLatestChangeid)


def _chdict(row: Row) -> ChDict:
    return ChDict(
        changeid=row[0],
        author=row[1],
        committer=row[2],
        comments=row[3],
        is_dir=row[4],
        revision=row[5],
        branch=row[6],
        category=row[7],
        revlink=row[8],
        when_timestamp=to_datetime(row[9]),
        repository=row[10],
        project=row[11],
        codebase=row[12],
        files=jsontext.loads(row[13]),
        links=jsontext.loads(row[14]),
        properties=property_pairs.loads(row[15]),
        parent_changeids=jsontext.loads(row[16]),
        sourcestampid=row[17],
    )
