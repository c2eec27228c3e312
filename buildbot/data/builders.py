"""Updates of builders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.builders import BUILDER


class BuilderUpdates(Transacts):
    """``findBuilderId``, ``setBuilders``."""

    def findBuilderId(self, name: str) -> Deferred[int]:
        """The id of the builder with this name, which is added if it is new. Event if so: ``builders/N/update``."""
        return self.transact(self._thdFindBuilderId, name)

    def _thdFindBuilderId(self, conn: Connection, events: Events, name: str) -> int:
        return self._db.builders.thdFindBuilderId(conn, name)

    def setBuilders(self, builders: Iterable[Mapping[str, Any]]) -> Deferred[dict[str, int]]:
        """Set the builders that this master runs.

        Args:
            builders: dictionaries with ``name`` and, all optional, ``description``, ``description_format``,
                ``description_html``, ``projectid``, ``tags``. Builders that are missing are no longer run by this
                master.

        Events: ``builders/N/update`` for each builder that changed; ``started`` and ``stopped`` where this master began
        or ceased to run it.

        Returns:
            Deferred with ``{name: builderid}``.

        Raises ValueError if there is no such project.
        """
        return self.transact(self._thdSetBuilders, list(builders))

    def _thdSetBuilders(self, conn: Connection, events: Events, builders: list[Mapping[str, Any]]) -> dict[str, int]:
        connector = self._db.builders
        self._db.masters.thdLockLinks(conn, self._db.masterid)
        names = [builder["name"] for builder in builders]
        ids = connector.thdFindBuilderIds(conn, names) if names else {}
        self._db.projects.thdCheck(conn, {b["projectid"] for b in builders if b.get("projectid") is not None})
        projects = connector.thdGetProjects(conn, ids.values())
        described = {ids[b["name"]] for b in builders if connector.thdDescribe(conn, ids[b["name"]], b)}
        changed = connector.thdSetOfMaster(conn, self._db.masterid, ids.values())
        started, stopped = changed & set(ids.values()), changed - set(ids.values())
        run_here: dict[int, dict[str, Any]] = {builderid: {"masterids": [self._db.masterid]} for builderid in stopped}
        asides = run_here | {builderid: {"projectid": projects.get(builderid)} for builderid in described}
        events.announce(BUILDER, "update", sorted(described | changed), asides=asides)
        events.announce(BUILDER, "started", sorted(started))
        events.announce(BUILDER, "stopped", sorted(stopped), asides=run_here)
        return {name: ids[name] for name in names}
