"""Builders connector: names, descriptions, and the masters that run them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import Connector, DBConnectorComponent
from buildbot.db.dialects.context import context_of, dialect_of
from buildbot.db.dialects.expressions import IdIn
from buildbot.db.engine.names import NamedRows
from buildbot.db.engine.statements import Statement
from buildbot.db.operations import reads_list, reads_short, writes
from buildbot.resources.builders import DbBuilderDict, builder_masters, builders
from buildbot.util import checks, jsontext

#: the result of getters, under the name that plugins import
BuilderModel = DbBuilderDict

_names = NamedRows(builders, lasting=True, tags="[]")
_get = Statement(select(builders.c.id, builders.c.name, builders.c.tags).where(builders.c.id == bindparam("builderid")))
_get_all = Statement(select(builders.c.id, builders.c.name, builders.c.tags).order_by(builders.c.id))
_described = ("description", "description_format", "description_html", "projectid", "tags")
_describe = Statement(
    update(builders)
    .where(
        builders.c.id == bindparam("builderid"),
        or_(*(builders.c[name].is_distinct_from(bindparam(f"new_{name}")) for name in _described)),
    )
    .values({name: bindparam(f"new_{name}") for name in _described})
)
_description = Statement(
    select(*(builders.c[name] for name in _described)).where(builders.c.id == bindparam("builderid"))
)
_projects_of = Statement(select(builders.c.id, builders.c.projectid).where(IdIn(builders.c.id)))
_of_master = Statement(select(builder_masters.c.builderid).where(builder_masters.c.masterid == bindparam("masterid")))
_run = Statement(
    select(builder_masters.c.masterid).where(builder_masters.c.builderid == bindparam("builderid")).limit(1)
)
_link = Statement(insert(builder_masters).values(builderid=bindparam("builderid"), masterid=bindparam("masterid")))
_unlink = Statement(
    delete(builder_masters).where(
        builder_masters.c.builderid == bindparam("builderid"), builder_masters.c.masterid == bindparam("masterid")
    )
)
_count_to = Statement(
    update(builders)
    .where(builders.c.id == bindparam("builderid"), builders.c.last_number < bindparam("number"))
    .values(last_number=bindparam("number"))
)
#: an announcement of a builder must hold its row: the masters that run it are in another table
_lock = Statement(
    select(builders.c.id).where(IdIn(builders.c.id)).order_by(builders.c.id).with_for_update(key_share=True)
)


_names_of = Statement(select(builders.c.id, builders.c.name).where(IdIn(builders.c.id)))


class BuildersConnectorComponent(DBConnectorComponent):
    """Builders; at ``master.db.builders``."""

    def __init__(self, connector: Connector) -> None:
        super().__init__(connector)
        self._names: dict[int, str] = {}

    def thdFindBuilderId(self, conn: Connection, name: str) -> int:
        """The id of the builder with this name, which is added if it is new."""
        return _names.id(conn, name)

    findBuilderId = writes(thdFindBuilderId)

    def thdFindBuilderIds(self, conn: Connection, names: list[str]) -> dict[str, int]:
        """Ids by name, added where new."""
        return _names.ids(conn, names)

    def thdGetBuilder(self, conn: Connection, builderid: int) -> dict[str, Any] | None:
        """The builder (``id``, ``name``, ``tags``), or None."""
        row = _get.first(conn, builderid=checks.identifier(builderid, "builderid"))
        return None if row is None else _dict(row)

    getBuilder = reads_short(thdGetBuilder)

    def thdGetBuilders(self, conn: Connection) -> list[dict[str, Any]]:
        """All builders ever configured, by id."""
        return [_dict(row) for row in _get_all.all(conn)]

    getBuilders = reads_list(thdGetBuilders)

    # -- for the Data layer -------------------------------------------------------------------------

    def thdDescribe(self, conn: Connection, builderid: int, described: Mapping[str, Any]) -> bool:
        """Store description, description_format, description_html, projectid and tags; true if anything changed."""
        values: dict[str, Any] = {
            f"new_{name}": checks.optional_text(described.get(name), name)
            for name in ("description", "description_format", "description_html")
        }
        values["new_projectid"] = described.get("projectid")
        values["new_tags"] = jsontext.dump_list(checks.texts(described.get("tags") or (), "tags"))
        return _describe.count(conn, builderid=builderid, **values) == 1

    def thdGetNames(self, conn: Connection, builderids: Iterable[int]) -> Mapping[int, str]:
        """The names of these builders and perhaps of others, by id. They stay as they are, so each is read once."""
        # a transaction that writes may be rolled back, and with it a builder
        known = self._names if context_of(conn).transaction is None else {}
        missing = set(builderids).difference(known)
        if missing:
            known.update(_names_of.all(conn, ids=sorted(missing)))
        return known

    def thdIsKnown(self, conn: Connection, name: str) -> bool:
        """Whether there is a builder with this name."""
        return bool(_names.known(conn, [name]))

    def thdIsRun(self, conn: Connection, builderid: int) -> bool:
        """Whether a master runs this builder."""
        return _run.first(conn, builderid=builderid) is not None

    def thdDescribed(self, conn: Connection, builderid: int) -> dict[str, Any]:
        """The description that ``thdDescribe`` has stored; without one, None and no tags."""
        row = _description.first(conn, builderid=builderid)
        assert row is not None
        return {**dict(zip(_described, row, strict=True)), "tags": jsontext.loads(row[_described.index("tags")])}

    def thdGetProjects(self, conn: Connection, builderids: Iterable[int]) -> dict[int, int | None]:
        """The projects of these builders, by id."""
        ids = list(builderids)
        return {row[0]: row[1] for row in _projects_of.all(conn, ids=ids)} if ids else {}

    def thdSetOfMaster(self, conn: Connection, masterid: int, builderids: Iterable[int]) -> set[int]:
        """Set the builders that a master runs; gives the ids of those that it began or ceased to run."""
        wanted = set(builderids)
        had = {row[0] for row in _of_master.all(conn, masterid=masterid)}
        if had != wanted:
            _lock.all(conn, ids=sorted(had ^ wanted))
        for builderid in sorted(had - wanted):
            _unlink.run(conn, builderid=builderid, masterid=masterid)
        _link.many(conn, [{"builderid": builderid, "masterid": masterid} for builderid in sorted(wanted - had)])
        return had ^ wanted

    def thdTakeNumber(self, conn: Connection, builderid: int, number: int | None) -> int:
        """The next build number of a builder, or the one given; its row is locked until the transaction ends."""
        if number is not None:
            _count_to.run(conn, builderid=builderid, number=number)
            return number
        return dialect_of(conn).count_up(conn, builders.c.last_number, builderid, 1)


def _dict(row: tuple[Any, ...]) -> dict[str, Any]:
    return {"id": row[0], "name": row[1], "tags": jsontext.loads(row[2])}
