"""Updates of codebases."""

from __future__ import annotations

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.codebases import CODEBASE


class CodebaseUpdates(Transacts):
    """``find_codebase_id``, ``update_codebase_info``."""

    def find_codebase_id(self, *, projectid: int, name: str) -> Deferred[int]:
        """The id of a project's codebase with this name (an identifier of at most 70), which is added if it is new.

        Event, if it is new: ``codebases/N/update``. Raises ValueError if there is no such project.
        """
        return self.transact(self._thdFindCodebase, projectid, name)

    def _thdFindCodebase(self, conn: Connection, events: Events, projectid: int, name: str) -> int:
        is_new = not self._db.codebases.thdIsKnown(conn, projectid, name)
        codebaseid = self._db.codebases.thdFindCodebaseId(conn, projectid, name)
        events.announce(CODEBASE, "update", [codebaseid] if is_new else [])
        return codebaseid

    def update_codebase_info(self, *, codebaseid: int, projectid: int, slug: str) -> Deferred[None]:
        """Set the project and slug of a codebase. Event, if that changed anything: ``codebases/N/update``.

        Raises ValueError if there is no such project, or it has another codebase of this name.
        """
        return self.transact(self._thdUpdateCodebase, codebaseid, projectid, slug)

    def _thdUpdateCodebase(self, conn: Connection, events: Events, codebaseid: int, projectid: int, slug: str) -> None:
        if self._db.codebases.thdUpdateCodebaseInfo(conn, codebaseid, projectid, slug):
            events.announce(CODEBASE, "update", codebaseid)
