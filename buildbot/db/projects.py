"""Projects connector."""

from __future__ import annotations

from typing import cast

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.engine.names import NamedRows
from buildbot.db.engine.rows import reader_of
from buildbot.db.engine.statements import Statement
from buildbot.db.operations import reads_short, snapshots, writes
from buildbot.resources.projects import PROJECT, ProjectDict, projects
from buildbot.util import checks

_names = NamedRows(projects, slug=lambda name: name)
_info = ("slug", "description", "description_format", "description_html")
_update = Statement(
    update(projects)
    .where(
        projects.c.id == bindparam("projectid"),
        or_(*(projects.c[name].is_distinct_from(bindparam(f"new_{name}")) for name in _info)),
    )
    .values({name: bindparam(f"new_{name}") for name in _info})
)
_all = Statement(select(projects.c.id).order_by(projects.c.name, projects.c.id))


class ProjectsConnectorComponent(DBConnectorComponent):
    """Projects; at ``master.db.projects``. Dictionaries are those of the Data API."""

    def thdFindProjectId(self, conn: Connection, name: str) -> int:
        """The id of the project with this name (an identifier of at most 70), which is added if it is new."""
        return _names.id(conn, checks.path_name(name, "name"))

    findProjectId = writes(thdFindProjectId)

    def thdGetProject(self, conn: Connection, projectid: int) -> ProjectDict | None:
        """The project with this id, or None."""
        wanted = checks.identifier(projectid, "projectid")
        return cast(ProjectDict | None, reader_of(PROJECT).by_ids(conn, [wanted]).get(wanted))

    getProject = reads_short(thdGetProject)

    def thdGetProjects(self, conn: Connection) -> list[ProjectDict]:
        """All projects ever configured, by name."""
        ids = [row[0] for row in _all.all(conn)]
        found = reader_of(PROJECT).by_ids(conn, ids)
        return [cast(ProjectDict, found[projectid]) for projectid in ids]

    getProjects = snapshots(thdGetProjects)

    def thdUpdateProjectInfo(
        self,
        conn: Connection,
        projectid: int,
        slug: str,
        description: str | None,
        description_format: str | None,
        description_html: str | None,
    ) -> bool:
        """Describe a project; true if anything changed."""
        return (
            _update.count(
                conn,
                projectid=checks.identifier(projectid, "projectid"),
                new_slug=checks.path_name(slug, "slug"),
                new_description=checks.optional_text(description, "description"),
                new_description_format=checks.optional_text(description_format, "description_format"),
                new_description_html=checks.optional_text(description_html, "description_html"),
            )
            == 1
        )

    updateProjectInfo = writes(thdUpdateProjectInfo)

    # -- for the Data layer -------------------------------------------------------------------------

    def thdIsKnown(self, conn: Connection, name: str) -> bool:
        """Whether there is a project with this name."""
        return bool(_names.known(conn, [checks.path_name(name, "name")]))

    def thdCheck(self, conn: Connection, projectids: set[int]) -> None:
        """Make sure that these projects exist. ValueError, naming one, if not."""
        ids = checks.identifiers(projectids, "projectid")
        missing = set(ids) - set(reader_of(PROJECT, ("projectid",)).by_ids(conn, ids)) if ids else set()
        if missing:
            raise ValueError(f"projectid: there is no project {min(missing)}")
