"""Updates of build data. Each fails with ``NotClaimedError`` if this master no longer holds the build's request."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.data.endpoint import Endpoint, EndpointKind, Variables
from buildbot.data.heard import Heard, heard_at
from buildbot.db.connector import DBConnector
from buildbot.db.engine.query import Query, fetch_one
from buildbot.resources.base import Kind, Path
from buildbot.resources.build_data import BUILD_DATA


class BuildDataUpdates(Transacts):
    """``setBuildData``."""

    def setBuildData(self, buildid: int, name: str, value: bytes, source: str) -> Deferred[None]:
        """Store bytes under a name, in place of the build's earlier ones; announces nothing.

        Args:
            name: an identifier of at most 70.
            value: at most 7,000,000 bytes.
            source: what set it.
        """
        return self.transact(self._thdSetBuildData, buildid, name, value, source)

    def _thdSetBuildData(
        self, conn: Connection, events: Events, buildid: int, name: str, value: bytes, source: str
    ) -> None:
        self._db.builds.thdHold(conn, buildid)
        self._db.build_data.thdSetBuildData(conn, buildid, name, value, source)


class BuildDataValueEndpoint(Endpoint):
    """The bytes of build data."""

    kind: EndpointKind = "raw"
    of_builds = True

    def __init__(self, db: DBConnector, path: Path) -> None:
        super().__init__(
            db, Path(f"{path.pattern}/value", where=path.where, single=True), BUILD_DATA.plural, BUILD_DATA.name
        )
        self._data_path = path

    @property
    def heard(self) -> Heard | None:
        """As ``Endpoint.heard``: the events of the data."""
        return heard_at(BUILD_DATA, self._data_path)

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return {"name": "str", "value": "json"}

    def read(self, conn: Connection, variables: Variables, query: Query) -> dict[str, Any] | None:
        """As ``Endpoint.read``: ``name``, and ``value``, which is bytes."""
        found = fetch_one(conn, BUILD_DATA, self._data_path, variables, Query(fields=("buildid", "name")))
        if found is None:
            return None
        value = self._db.build_data.thdGetBuildDataValue(conn, found["buildid"], found["name"])
        return {"name": found["name"], "value": value}
