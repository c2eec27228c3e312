"""Build data connector: bytes that builds store under names."""

from __future__ import annotations

from typing import cast

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.engine.races import again_if_taken, refusing_unknown
from buildbot.db.engine.rows import reader_of
from buildbot.db.engine.statements import Insert, Statement, by_name
from buildbot.db.operations import reads, snapshots, writes
from buildbot.resources.build_data import BUILD_DATA, BuildDataDict, build_data, build_data_values
from buildbot.util import checks

_here = (build_data.c.buildid == bindparam("bid"), build_data.c.name_hash == bindparam("hash"))
_find = Statement(select(build_data.c.id).where(*_here))
_add = Insert(insert(build_data).values(by_name(column for column in build_data.columns if column.name != "id")))
_add_value = Statement(insert(build_data_values).values(by_name(build_data_values.columns)))
_change = Statement(
    update(build_data)
    .where(build_data.c.id == bindparam("dataid"))
    .values(length=bindparam("new_length"), source=bindparam("new_source"))
)
_change_value = Statement(
    update(build_data_values)
    .where(build_data_values.c.build_dataid == bindparam("dataid"))
    .values(value=bindparam("new_value"))
)
_value = Statement(
    select(build_data_values.c.value)
    .join(build_data, build_data.c.id == build_data_values.c.build_dataid)
    .where(*_here)
)
_of_build = Statement(
    select(build_data.c.id).where(build_data.c.buildid == bindparam("bid")).order_by(build_data.c.name)
)


class BuildDataConnectorComponent(DBConnectorComponent):
    """Build data; at ``master.db.build_data``. Dictionaries are those of the Data API, without values."""

    def thdSetBuildData(self, conn: Connection, buildid: int, name: str, value: bytes, source: str) -> None:
        """Store bytes under a name, in place of earlier ones.

        Args:
            name: an identifier of at most 70.
            value: at most 7,000,000 bytes.
            source: what set it.

        Raises:
            TypeError, ValueError: an argument is wrong; the text names it. Nothing is written.
        """
        this = {
            "bid": checks.identifier(buildid, "buildid"),
            "hash": checks.name_hash(checks.path_name(name, "name")),
        }
        found = _find.scalar(conn, **this)
        stored = checks.data(value, "value")
        checks.text(source, "source")
        if found is None:
            row = {"name": name, "name_hash": this["hash"], "length": len(stored), "source": source}
            with again_if_taken(conn), refusing_unknown(conn, f"buildid: there is no build {buildid}"):
                found = _add.id(conn, buildid=buildid, **row)
            _add_value.run(conn, build_dataid=found, value=stored)
        else:
            _change.run(conn, dataid=found, new_length=len(stored), new_source=source)
            _change_value.run(conn, dataid=found, new_value=stored)

    setBuildData = writes(thdSetBuildData)

    def thdGetBuildData(self, conn: Connection, buildid: int, name: str) -> BuildDataDict | None:
        """The description of a build's data of a name, or None."""
        found = _find.scalar(conn, bid=checks.identifier(buildid, "buildid"), hash=checks.name_hash(name))
        return cast(BuildDataDict | None, reader_of(BUILD_DATA).by_ids(conn, [found]).get(found)) if found else None

    getBuildData = snapshots(thdGetBuildData)

    def thdGetBuildDataValue(self, conn: Connection, buildid: int, name: str) -> bytes | None:
        """The bytes of a build's data of a name, or None."""
        found = _value.scalar(conn, bid=checks.identifier(buildid, "buildid"), hash=checks.name_hash(name))
        return None if found is None else bytes(found)

    getBuildDataValue = reads(thdGetBuildDataValue)

    def thdGetAllBuildData(self, conn: Connection, buildid: int) -> list[BuildDataDict]:
        """The descriptions of a build's data, by name."""
        ids = [row[0] for row in _of_build.all(conn, bid=checks.identifier(buildid, "buildid"))]
        found = reader_of(BUILD_DATA).by_ids(conn, ids)
        return [cast(BuildDataDict, found[dataid]) for dataid in ids]

    getAllBuildData = snapshots(thdGetAllBuildData)
