"""Updates of commits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_type_hints

from sqlalchemy import select
from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data import spec
from buildbot.data.base import Events, ResourceList, Transacts
from buildbot.data.endpoint import Endpoint, ResourceEndpoint, Variables
from buildbot.data.exceptions import InvalidOptionError
from buildbot.data.heard import Heard
from buildbot.db.connector import DBConnector
from buildbot.db.dialects.expressions import IdIn
from buildbot.db.engine.query import Condition, Query, count, fetch
from buildbot.resources.base import Among, Element, Kind, Path
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.builds import BUILD
from buildbot.resources.buildsets import BUILDSET, buildsets
from buildbot.resources.codebases import CODEBASE, codebases
from buildbot.resources.commits import COMMIT, CommitGraphDict, commits
from buildbot.resources.sourcestamps import sourcestamps, sourcestampset_members
from buildbot.resources.test_result_sets import TEST_RESULT_SET


class CommitUpdates(Transacts):
    """``add_commit``."""

    def add_commit(
        self,
        *,
        codebaseid: int,
        author: str,
        comments: str,
        revision: str,
        committer: str | None = None,
        when_timestamp: int | None = None,
        parent_commitid: int | None = None,
    ) -> Deferred[int]:
        """Add a commit. If the codebase has a commit of this revision, that one stays as it is.

        Event, if it is new: ``commits/N/new``, ``codebases/N/commits/N/new``.

        Args:
            when_timestamp: Unix seconds, default now.
            parent_commitid: a commit of the same codebase, added before; None for the first.

        Returns:
            Deferred with the commitid.

        Raises ValueError if there is no such codebase, or it has no such parent.
        """
        return self.transact(
            self._thdAddCommit,
            {
                "codebaseid": codebaseid,
                "author": author,
                "comments": comments,
                "revision": revision,
                "committer": committer,
                "when_timestamp": when_timestamp,
                "parent_commitid": parent_commitid,
            },
        )

    def _thdAddCommit(self, conn: Connection, events: Events, commit: dict[str, object]) -> int:
        commitid, is_new = self._db.commits.thdAddCommit(conn, **commit)  # type: ignore[arg-type]
        if is_new:
            events.announce(COMMIT, "new", commitid)
        return commitid


_RANGE = f"{CODEBASE.plural}/n:codebaseid/commit_range/n:commitid1/n:commitid2"


class CommitGraphEndpoint(Endpoint):
    """How two commits of a codebase are related."""

    def __init__(self, db: DBConnector) -> None:
        super().__init__(db, Path(f"{_RANGE}/commits_common_parent", single=True), "commit_graphs", "commit_graph")

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return {"common": "int", "to1": "list", "to2": "list"}

    @property
    def type_spec(self) -> dict[str, Any]:
        """As ``Endpoint.type_spec``."""
        types = get_type_hints(CommitGraphDict)
        return {"type": self.name, "fields": [spec.plain(n, kind, types[n]) for n, kind in self.fields.items()]}

    def read(self, conn: Connection, variables: Variables, query: Query) -> Any:
        """As ``Endpoint.read``; None if they have no common ancestor."""
        if not _in_codebase(self._db, conn, variables):
            return None
        return self._db.commits.thdGetCommitGraph(conn, variables["commitid1"], variables["commitid2"])


_OF_STAMPS = Element("sourcestamps", ("codebase", "revision"))
_OF_COMMITS = Path(
    BUILDSET.plural,
    where=buildsets.c.sourcestampsetid.in_(
        select(sourcestampset_members.c.sourcestampsetid)
        .join(sourcestamps, sourcestamps.c.id == sourcestampset_members.c.ssid)
        .join(codebases, codebases.c.name == sourcestamps.c.codebase)
        .join(commits, (commits.c.codebaseid == codebases.c.id) & (commits.c.revision == sourcestamps.c.revision))
        .where(IdIn(commits.c.id))
    ),
)


class CommitRangeEndpoint(ResourceEndpoint):
    """Test result sets of the builds of two commits, of their common ancestor, and of the commits between."""

    #: values in one statement that every database takes
    MAX_SETS = 30_000

    def __init__(self, db: DBConnector) -> None:
        super().__init__(db, TEST_RESULT_SET, Path(f"{_RANGE}/test_result_sets"), {})
        self._all = next(path for path in TEST_RESULT_SET.paths if not path.variables)

    @property
    def heard(self) -> Heard:
        """As ``Endpoint.heard``: the commits between two are always the same."""
        of_stamps = Among("buildsetid", BUILDSET.plural, "bsid", _OF_STAMPS, found_by=_OF_COMMITS)
        of_requests = Among("buildrequestid", BUILDREQUEST.plural, "buildrequestid", of_stamps)
        condition = Among("buildid", BUILD.plural, "buildid", of_requests)
        resource = TEST_RESULT_SET
        return Heard(resource.events, condition, resource.event_names, resource.key, more=self._stamps)

    def _stamps(self, conn: Connection, variables: Variables) -> dict[str, Any]:
        """A condition on source stamps: they are of these commits; and the commits' ids."""
        codebase = self._db.codebases.thdGetCodebase(conn, variables["codebaseid"])
        if codebase is None or not _in_codebase(self._db, conn, variables):
            return {}
        ids = self._db.commits.thdGetRange(conn, variables["commitid1"], variables["commitid2"])
        revisions = frozenset(self._db.commits.thdGetRevisions(conn, ids))
        return {"codebase": codebase["name"], "revision": revisions, "ids": ids}

    def read(self, conn: Connection, variables: Variables, query: Query) -> ResourceList:
        """As ``Endpoint.read``."""
        ids: list[int] = []
        if _in_codebase(self._db, conn, variables):
            ids = self._db.commits.thdTestResultSets(conn, variables["commitid1"], variables["commitid2"])
        if len(ids) > self.MAX_SETS:
            raise InvalidOptionError(f"commit range: {len(ids)} test result sets are more than {self.MAX_SETS}")
        if not ids:
            return ResourceList([], 0, self.plural)
        within = Condition("test_result_setid", "in", tuple(ids))
        query = replace(query, conditions=(*query.conditions, within))
        page = fetch(conn, TEST_RESULT_SET, self._all, {}, query)
        total = count(conn, TEST_RESULT_SET, self._all, {}, query)[0] if page.total is None else page.total
        self._link(conn, page.entities, query)
        return ResourceList(page.entities, total, self.plural)

    def read_with_clock(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int]:
        """As ``Endpoint.read_with_clock``: a statement of its own reads the clock."""
        return Endpoint.read_with_clock(self, conn, variables, query)

    def read_at_once(self, conn: Connection, variables: Variables, query: Query) -> None:
        """As ``Endpoint.read_at_once``: it always needs a snapshot."""
        return


def _in_codebase(db: DBConnector, conn: Connection, variables: Variables) -> bool:
    """Whether both ends of a commit range are commits of its codebase."""
    found = [db.commits.thdGetCommit(conn, variables[name]) for name in ("commitid1", "commitid2")]
    return all(commit is not None and commit["codebaseid"] == variables["codebaseid"] for commit in found)
