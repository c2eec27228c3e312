"""Change sources connector."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.claimed_by_one import ClaimedByOne
from buildbot.db.engine.names import NamedRows
from buildbot.db.exceptions import ChangeSourceAlreadyClaimedError
from buildbot.db.operations import reads_list, reads_short, writes
from buildbot.resources.changesources import changesource_masters, changesources

_names = NamedRows(changesources)
_things = ClaimedByOne(changesources, changesource_masters, "changesourceid", ChangeSourceAlreadyClaimedError)


class ChangeSourcesConnectorComponent(DBConnectorComponent):
    """Change sources, and the masters that run them; at ``master.db.changesources``.

    Change source dictionaries have the keys ``id``, ``name``, ``masterid`` (None if no master runs it).
    """

    def thdFindChangeSourceId(self, conn: Connection, name: str) -> int:
        """The id of the change source with this name, which is added if it is new."""
        return _names.id(conn, name)

    findChangeSourceId = writes(thdFindChangeSourceId)

    def thdSetChangeSourceMaster(self, conn: Connection, changesourceid: int, masterid: int | None) -> None:
        """Set, or with None unset, the master that runs a change source.

        Raises:
            ChangeSourceAlreadyClaimedError: another active master runs it.
            KeyError: there is no such change source.
            ValueError: there is no such master.
        """
        self.thdMoveToMaster(conn, changesourceid, masterid)

    setChangeSourceMaster = writes(thdSetChangeSourceMaster)

    def thdMoveToMaster(self, conn: Connection, changesourceid: int, masterid: int | None) -> int | None:
        """As ``thdSetChangeSourceMaster``; gives the master that ran it until now."""
        return _things.set_master(conn, changesourceid, masterid)

    def thdLockOfMaster(self, conn: Connection, masterid: int) -> list[int]:
        """Ids of the change sources that a master runs; locked."""
        return _things.lock_of_master(conn, masterid)

    def thdHold(self, conn: Connection, changesourceid: int) -> None:
        """Make sure that this master, at its epoch, runs a change source until this transaction ends.

        Raises NotClaimedError if not: a process that was declared dead can write nothing for it.
        """
        _things.hold(conn, changesourceid, self.db.masterid, self.db.epoch)

    def thdGetChangeSource(self, conn: Connection, changesourceid: int) -> dict[str, Any] | None:
        """The change source, or None."""
        return _things.get(conn, changesourceid, _dict)  # type: ignore[no-any-return]

    getChangeSource = reads_short(thdGetChangeSource)

    def thdGetChangeSources(
        self, conn: Connection, active: bool | None = None, masterid: int | None = None
    ) -> list[dict[str, Any]]:
        """Change sources, by id; with both filters, those that meet both.

        Args:
            active: true: change sources that an active master runs; false: the others.
            masterid: change sources of this master.
        """
        return _things.get_all(conn, active, masterid, _dict)

    getChangeSources = reads_list(thdGetChangeSources)


def _dict(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "masterid": row["masterid"]}


__all__ = ["ChangeSourceAlreadyClaimedError", "ChangeSourcesConnectorComponent"]
