"""Updates of projects."""

from __future__ import annotations

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.projects import PROJECT


class ProjectUpdates(Transacts):
    """``find_project_id``, ``update_project_info``."""

    def find_project_id(self, name: str) -> Deferred[int]:
        """The id of the project with this name (an identifier of at most 70), which is added if it is new.

        Event, if it is new: ``projects/N/update``.
        """
        return self.transact(self._thdFindProject, name)

    def _thdFindProject(self, conn: Connection, events: Events, name: str) -> int:
        is_new = not self._db.projects.thdIsKnown(conn, name)
        projectid = self._db.projects.thdFindProjectId(conn, name)
        events.announce(PROJECT, "update", [projectid] if is_new else [])
        return projectid

    def update_project_info(
        self,
        projectid: int,
        slug: str,
        description: str | None = None,
        description_format: str | None = None,
        description_html: str | None = None,
    ) -> Deferred[None]:
        """Describe a project. Event, if that changed anything: ``projects/N/update``.

        Args:
            slug: an identifier of at most 70.
            description_format: ``markdown`` or None.
        """
        return self.transact(self._thdUpdateProject, projectid, slug, description, description_format, description_html)

    def _thdUpdateProject(self, conn: Connection, events: Events, projectid: int, *info: str | None) -> None:
        if self._db.projects.thdUpdateProjectInfo(conn, projectid, *info):  # type: ignore[arg-type]
            events.announce(PROJECT, "update", projectid)
