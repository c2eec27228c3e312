"""Source stamps connector.

Source stamps added here are rows of their own. The Data layer shares them: equal code without a patch has one source
stamp (``thdFindSourceStamp``), which may belong to many sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Protocol

from sqlalchemy import bindparam, insert, select
from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.db.base import Connector, DBConnectorComponent, Invalidation, Told, cached
from buildbot.db.dialects import Dialect
from buildbot.db.dialects.context import transaction_of
from buildbot.db.engine.races import refusing_unknown
from buildbot.db.engine.rows import Entity, nester
from buildbot.db.engine.statements import Insert, OwnRow, Row, Statement, by_name
from buildbot.db.operations import reads_list, writes
from buildbot.db.sourcestampsets import SourceStampSetsConnectorComponent
from buildbot.resources.sourcestamps import (
    STAMP_COLUMNS,
    UNPATCHED_COLUMNS,
    DbSourceStampDict,
    patches,
    sourcestamps,
    sourcestampset_changes,
    sourcestampset_members,
)
from buildbot.util import checks

#: the result of getters, under the name that plugins import
SourceStampModel = DbSourceStampDict

_stamp_columns = [column for column in sourcestamps.columns if column.name != "id"]
_add = Insert(insert(sourcestamps).values(by_name(_stamp_columns)))
_add_patch = Insert(insert(patches).values(by_name(c for c in patches.columns if c.name != "id")))
_add_change = Statement(
    insert(sourcestampset_changes).values(
        sourcestampsetid=bindparam("setid"), ssid=bindparam("ssid"), changeid=bindparam("changeid")
    )
)
_find = Statement(select(*UNPATCHED_COLUMNS).where(sourcestamps.c.content_hash == bindparam("content_hash")))


def _insert_or_find(dialect: Dialect) -> Any:
    return dialect.insert_or_find(sourcestamps).values(by_name(_stamp_columns))  # type: ignore[attr-defined]


_add_shared = Insert(_insert_or_find, gives=OwnRow(sourcestamps.name, UNPATCHED_COLUMNS))

_base = select(
    sourcestamps.c.id,
    sourcestamps.c.sourcestampsetid,
    sourcestamps.c.branch,
    sourcestamps.c.revision,
    sourcestamps.c.repository,
    sourcestamps.c.project,
    sourcestamps.c.codebase,
    patches.c.body,
    patches.c.level,
    patches.c.subdir,
    patches.c.author,
    patches.c.comment,
).select_from(sourcestamps.outerjoin(patches, patches.c.id == sourcestamps.c.patchid))
_keys = (
    "ssid",
    "sourcestampsetid",
    "branch",
    "revision",
    "repository",
    "project",
    "codebase",
    "patch_body",
    "patch_level",
    "patch_subdir",
    "patch_author",
    "patch_comment",
)
_get = Statement(_base.where(sourcestamps.c.id == bindparam("ssid")))
_get_set = Statement(
    _base.join(sourcestampset_members, sourcestampset_members.c.ssid == sourcestamps.c.id)
    .where(sourcestampset_members.c.sourcestampsetid == bindparam("setid"))
    .order_by(sourcestamps.c.id)
)
_changes_of = Statement(
    select(sourcestampset_changes.c.changeid)
    .where(sourcestampset_changes.c.ssid == bindparam("ssid"))
    .distinct()
    .order_by(sourcestampset_changes.c.changeid)
)
_changes_of_set = Statement(
    select(sourcestampset_changes.c.ssid, sourcestampset_changes.c.changeid)
    .where(sourcestampset_changes.c.sourcestampsetid == bindparam("setid"))
    .order_by(sourcestampset_changes.c.changeid)
)


_embedded = nester(STAMP_COLUMNS)


def content_hash(branch: str | None, revision: str | None, repository: str, project: str, codebase: str) -> str:
    """The hash of code without a patch, which has one source stamp."""
    parts = (branch, revision, repository, project, codebase)
    return checks.name_hash(*("0" if part is None else "1" + part for part in parts))


class SsDict(dict[str, Any]):
    """A source stamp; allows weak references."""


class SsList(list[SsDict]):
    """The source stamps of a set."""


def _stamps_of_buildset(key: tuple[str, ...], told: Told) -> list[int]:
    return [stamp["ssid"] for stamp in told.message["sourcestamps"]]


class _Connector(Connector, Protocol):
    """The connector, with the other components that this one calls."""

    sourcestampsets: SourceStampSetsConnectorComponent


class SourceStampsConnectorComponent(DBConnectorComponent):
    """Source stamps; at ``master.db.sourcestamps``.

    An ssdict has the keys ``ssid``, ``sourcestampsetid``, ``branch``, ``revision``, ``patch_body``, ``patch_level``,
    ``patch_subdir``, ``patch_author``, ``patch_comment`` (all patch keys None without a patch), ``repository``,
    ``project``, ``codebase`` and ``changeids``.
    """

    db: _Connector
    invalidations = (
        # A source stamp of a new buildset may belong to further changes now.
        Invalidation("ssdicts", ("buildsets", None, "new"), _stamps_of_buildset),
        Invalidation("ssdicts", ("sourcestamps", None, "deleted")),
    )

    def thdAddSourceStamp(
        self,
        conn: Connection,
        branch: str | None,
        revision: str | None,
        repository: str,
        project: str,
        patch_body: str | None = None,
        patch_level: int = 0,
        patch_author: str = "",
        patch_comment: str = "",
        patch_subdir: str | None = None,
        changeids: Iterable[int] = (),
        sourcestampsetid: int | None = None,
        codebase: str = "",
    ) -> int:
        """Add a source stamp and return its ssid.

        Args:
            branch, revision: None for the default branch and the latest revision.
            repository, project, codebase: text, may be empty, never None.
            patch_body: text of the patch; without one the other patch arguments are not stored.
            changeids: the changes that it comes from.
            sourcestampsetid: the set it belongs to; a new one is made for None.

        Raises:
            ValueError: there is no such set or change.
        """
        values = _checked(branch, revision, repository, project, codebase)
        ids = checks.identifiers(changeids, "changeids")
        patch = _checked_patch(patch_body, patch_level, patch_author, patch_comment, patch_subdir)
        if sourcestampsetid is None:
            setid = self.db.sourcestampsets.thdAddSourceStampSet(conn)
        else:
            setid = checks.identifier(sourcestampsetid, "sourcestampsetid")
        return self._add(conn, values, patch, setid, ids)

    addSourceStamp = writes(thdAddSourceStamp)

    @cached("ssdicts")
    def getSourceStamp(self, ssid: int) -> Deferred[SsDict | None]:
        """The source stamp with this id, or None.

        ``no_cache``: read the database even if the source stamp is cached.
        """
        return self.db.pool.snapshot(self.thdGetSourceStamp, ssid)

    def thdGetSourceStamp(self, conn: Connection, ssid: int) -> SsDict | None:
        """The source stamp with this id, or None."""
        row = _get.first(conn, ssid=checks.identifier(ssid, "ssid"))
        if row is None:
            return None
        return SsDict(zip(_keys, row, strict=True), changeids=[r[0] for r in _changes_of.all(conn, ssid=ssid)])

    def thdGetSourceStamps(self, conn: Connection, sourcestampsetid: int) -> SsList:
        """The source stamps of a set, by id; empty if there is no such set."""
        setid = checks.identifier(sourcestampsetid, "sourcestampsetid")
        changeids: dict[int, list[int]] = {}
        for ssid, changeid in _changes_of_set.all(conn, setid=setid):
            changeids.setdefault(ssid, []).append(changeid)
        stamps = SsList()
        for row in _get_set.all(conn, setid=setid):
            stamp = SsDict(zip(_keys, row, strict=True), changeids=changeids.get(row[0], []))
            stamp["sourcestampsetid"] = setid
            stamps.append(stamp)
        return stamps

    getSourceStamps = reads_list(thdGetSourceStamps)

    # -- for the Data layer -------------------------------------------------------------------------

    def thdGetChangesOfSet(self, conn: Connection, sourcestampsetid: int) -> list[int]:
        """The ids of the changes of a set."""
        return sorted({row[1] for row in _changes_of_set.all(conn, setid=sourcestampsetid)})

    def thdFindSourceStamp(
        self,
        conn: Connection,
        branch: str | None,
        revision: str | None,
        repository: str,
        project: str,
        codebase: str,
        expect_new: bool = False,
    ) -> tuple[int, Row | None]:
        """The source stamp that equal code shares, added if it is new; if it is expected to exist, the look-up comes
        first.

        Returns its id, and its row if that was read.
        """
        values = _checked(branch, revision, repository, project, codebase)
        digest = content_hash(branch, revision, repository, project, codebase)
        transaction = transaction_of(conn)
        key = sourcestamps.name, digest
        found = transaction.found.get(key)
        if found is None and not expect_new:
            found = _find.first(conn, content_hash=digest)
        if found is None:
            row = {**values, "content_hash": digest, "sourcestampsetid": None, "patchid": None}
            ssid = _add_shared.id_unless_there(conn, **row, created_at=transaction.now)
            if ssid is not None:
                return ssid, transaction.written.get(sourcestamps.name, {}).get(ssid)
            found = _find.first(conn, content_hash=digest)
            assert found is not None
        transaction.found[key] = found
        return found[0], found

    def thdAddSet(self, conn: Connection, stamps: Iterable[dict[str, Any]]) -> tuple[int, list[Entity] | None]:
        """Add a set of source stamps: dictionaries with the arguments of ``addSourceStamp``. Equal ones count once.

        Returns its id, and the source stamps as other nouns embed them, if all were read.
        """
        rows: dict[int, Row | None] = {}
        shared: dict[int, list[int]] = {}
        patched: list[dict[str, Any]] = []
        for stamp in stamps:
            given = {"branch": None, "revision": None, "repository": "", "project": "", "codebase": "", **stamp}
            unknown = set(given) - _STAMP_ARGUMENTS
            if unknown:
                raise TypeError(f"sourcestamps: unknown key {sorted(unknown)[0]!r}")
            if given.get("patch_body") is not None:
                patched.append(given)
                continue
            ids = checks.identifiers(given.get("changeids", ()), "changeids")
            ssid, row = self.thdFindSourceStamp(
                conn, given["branch"], given["revision"], given["repository"], given["project"], given["codebase"]
            )
            rows[ssid] = row or rows.get(ssid)
            shared.setdefault(ssid, []).extend(ids)
        setid = self.db.sourcestampsets.thdAddSetOf(conn, list(shared))
        for ssid, ids in shared.items():
            self._add_changes(conn, setid, ssid, ids)
        for given in patched:
            self.thdAddSourceStamp(conn, **{**given, "sourcestampsetid": setid})
        known = sorted((row for row in rows.values() if row is not None), key=itemgetter(0))
        at_hand = not patched and len(known) == len(rows)
        return setid, [_embedded(row[1:]) for row in known] if at_hand else None

    def _add(
        self, conn: Connection, values: dict[str, Any], patch: dict[str, Any] | None, setid: int, changeids: list[int]
    ) -> int:
        patchid = None if patch is None else _add_patch.id(conn, **patch)
        row = {**values, "content_hash": None, "sourcestampsetid": setid, "patchid": patchid}
        with refusing_unknown(conn, f"sourcestampsetid: there is no set {setid}"):
            ssid = _add.id(conn, **row, created_at=transaction_of(conn).now)
        self.db.sourcestampsets.thdJoin(conn, setid, [ssid])
        self._add_changes(conn, setid, ssid, changeids)
        return ssid

    def _add_changes(self, conn: Connection, setid: int, ssid: int, changeids: list[int]) -> None:
        rows = [{"setid": setid, "ssid": ssid, "changeid": changeid} for changeid in dict.fromkeys(changeids)]
        with refusing_unknown(conn, f"changeids: a change among {changeids[:5]} does not exist"):
            _add_change.many(conn, rows)


_STAMP_ARGUMENTS = {
    "branch",
    "revision",
    "repository",
    "project",
    "codebase",
    "changeids",
    "patch_body",
    "patch_level",
    "patch_author",
    "patch_comment",
    "patch_subdir",
}


def _checked(
    branch: str | None, revision: str | None, repository: str, project: str, codebase: str
) -> dict[str, str | None]:
    return {
        "branch": checks.optional_text(branch, "branch", checks.MAX_NAME),
        "revision": checks.optional_text(revision, "revision", checks.MAX_NAME),
        "repository": checks.text(repository, "repository", checks.MAX_NAME),
        "project": checks.text(project, "project", checks.MAX_NAME),
        "codebase": checks.text(codebase, "codebase", checks.MAX_NAME),
    }


def _checked_patch(
    body: str | None, level: int, author: str, comment: str, subdir: str | None
) -> dict[str, Any] | None:
    checks.integer(level, "patch_level")
    patch = {
        "body": checks.optional_text(body, "patch_body"),
        "level": level,
        "author": checks.text(author, "patch_author", checks.MAX_NAME),
        "comment": checks.text(comment, "patch_comment", checks.MAX_COMMENTS),
        "subdir": checks.optional_text(subdir, "patch_subdir", checks.MAX_NAME),
    }
    return None if body is None else patch
