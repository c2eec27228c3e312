"""Codebases connector: the repositories of projects."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import bindparam, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from buildbot.db.base import DBConnectorComponent
from buildbot.db.engine.rows import reader_of
from buildbot.db.engine.statements import Insert, Statement, by_name
from buildbot.db.operations import reads_short, snapshots, writes
from buildbot.resources.codebases import CODEBASE, CodebaseDict, codebases
from buildbot.resources.projects import projects
from buildbot.util import checks

_find = Statement(
    select(codebases.c.id).where(
        codebases.c.projectid == bindparam("projectid"), codebases.c.name_hash == bindparam("name_hash")
    )
)
_lock_project = Statement(select(projects.c.id).where(projects.c.id == bindparam("projectid")).with_for_update())
_lock = Statement(select(codebases.c.id).where(codebases.c.id == bindparam("codebaseid")).with_for_update())
_add = Insert(insert(codebases).values(by_name(column for column in codebases.columns if column.name != "id")))
_all = Statement(select(codebases.c.id).order_by(codebases.c.id))
_of_project = Statement(
    select(codebases.c.id).where(codebases.c.projectid == bindparam("projectid")).order_by(codebases.c.id)
)
_update = Statement(
    update(codebases)
    .where(
        codebases.c.id == bindparam("codebaseid"),
        or_(codebases.c.slug != bindparam("new_slug"), codebases.c.projectid != bindparam("new_projectid")),
    )
    .values(slug=bindparam("new_slug"), projectid=bindparam("new_projectid"))
)


class CodebasesConnectorComponent(DBConnectorComponent):
    """Codebases; at ``master.db.codebases``. Dictionaries are those of the Data API."""

    def thdFindCodebaseId(self, conn: Connection, projectid: int, name: str) -> int:
        """The id of a project's codebase with this name (an identifier of at most 70), which is added if it is new.

        Raises:
            ValueError: there is no such project.
        """
        this = _this(projectid, name)
        found = _find.scalar(conn, **this)
        if found is None:
            if _lock_project.first(conn, projectid=projectid) is None:
                raise ValueError(f"projectid: there is no project {projectid}")
            found = _find.scalar(conn, **this)
        return int(found) if found is not None else _add.id(conn, **this, name=name, slug=name)

    findCodebaseId = writes(thdFindCodebaseId)

    def thdGetCodebase(self, conn: Connection, codebaseid: int) -> CodebaseDict | None:
        """The codebase with this id, or None."""
        wanted = checks.identifier(codebaseid, "codebaseid")
        return cast(CodebaseDict | None, reader_of(CODEBASE).by_ids(conn, [wanted]).get(wanted))

    getCodebase = reads_short(thdGetCodebase)

    def thdGetCodebases(self, conn: Connection, projectid: int | None = None) -> list[CodebaseDict]:
        """All codebases, or those of one project, by id."""
        if projectid is None:
            rows = _all.all(conn)
        else:
            rows = _of_project.all(conn, projectid=checks.identifier(projectid, "projectid"))
        found = reader_of(CODEBASE).by_ids(conn, [row[0] for row in rows])
        return [cast(CodebaseDict, found[codebaseid]) for codebaseid in sorted(found)]

    getCodebases = snapshots(thdGetCodebases)

    def thdUpdateCodebaseInfo(self, conn: Connection, codebaseid: int, projectid: int, slug: str) -> bool:
        """Set the project and slug of a codebase; true if anything changed.

        Raises:
            ValueError: there is no such project, or it has a codebase of this name.
        """
        new = {
            "codebaseid": checks.identifier(codebaseid, "codebaseid"),
            "new_projectid": checks.identifier(projectid, "projectid"),
            "new_slug": checks.path_name(slug, "slug"),
        }
        try:
            return _update.count(conn, **new) == 1
        except IntegrityError as error:
            if self.db.dialect.is_unique_violation(error):
                raise ValueError(f"projectid: project {projectid} has a codebase of this name") from error
            if self.db.dialect.is_foreign_key_violation(error):
                raise ValueError(f"projectid: there is no project {projectid}") from error
            raise

    updateCodebaseInfo = writes(thdUpdateCodebaseInfo)

    def thdIsKnown(self, conn: Connection, projectid: int, name: str) -> bool:
        """Whether a project has a codebase with this name."""
        return _find.first(conn, **_this(projectid, name)) is not None

    def thdLock(self, conn: Connection, codebaseid: int) -> None:
        """Lock a codebase against new branches and commits until this transaction ends. ValueError if there is none."""
        if _lock.first(conn, codebaseid=checks.identifier(codebaseid, "codebaseid")) is None:
            raise ValueError(f"codebaseid: there is no codebase {codebaseid}")


def _this(projectid: int, name: str) -> dict[str, Any]:
    return {
        "projectid": checks.identifier(projectid, "projectid"),
        "name_hash": checks.name_hash(checks.path_name(name, "name")),
    }
