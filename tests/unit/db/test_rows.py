"""Rows that a transaction has just written."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.engine import Connection

from buildbot.data.base import Events
from buildbot.db.engine.rows import reader_of
from buildbot.db.engine.statements import Statement
from buildbot.resources.buildrequests import BUILDREQUEST, buildrequests
from buildbot.resources.changes import CHANGE
from tests.support.building import STAMP, add_request


@pytest.mark.parametrize("raw", [True, False])
async def test_written_otherwise(master: Any, raw: bool) -> None:
    """A row that a statement returned is read again after any other statement on its table."""
    brid = await add_request(master)

    def thd(conn: Connection) -> Any:
        master.db.buildrequests.thdClaimBuildRequests(conn, [brid])
        higher = update(buildrequests).values(priority=7)
        if raw:
            conn.execute(higher)
        else:
            Statement(higher).run(conn)
        return reader_of(BUILDREQUEST).after_writing(conn, [brid])[brid]

    entity = await master.db.pool.do(thd)
    assert (entity["priority"], entity["claimed"]) == (7, True)


async def test_as_read(master: Any) -> None:
    """An event made from memory equals a later read, with its source stamp, new or not."""
    seen: list[Any] = []

    def thd(conn: Connection, changes: int) -> None:
        events = Events(conn)
        for _ in range(changes):
            given = {"author": "a", "properties": {"p": ({"q": [1]}, "Change")}, "files": ["f"], **STAMP}
            changeid = master.db.changes.thdAddChange(conn, **given)
            seen.extend(events.announce(CHANGE, "new", changeid))

    await master.db.pool.do(thd, 2)
    for entity in seen:
        found = await master.db.pool.read(reader_of(CHANGE).by_ids, [entity["changeid"]])
        assert found == {entity["changeid"]: entity}
    assert seen[1]["parent_changeids"] == [seen[0]["changeid"]]


async def test_rolled_back(master: Any) -> None:
    """Rows of a failed call are not used for later calls."""
    brid = await add_request(master)

    def fails(conn: Connection) -> None:
        master.db.buildrequests.thdClaimBuildRequests(conn, [brid])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await master.db.pool.do(fails)
    entities = await master.db.pool.do(lambda conn: reader_of(BUILDREQUEST).after_writing(conn, [brid]))
    assert entities[brid]["claimed"] is False
