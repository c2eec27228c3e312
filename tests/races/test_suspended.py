"""A process that stands still in the middle of a transaction does not hold up the others for long."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.threads import deferToThread

from buildbot.db.dialects.base import MAX_IDLE_S
from tests.support.building import STAMP
from tests.support.state import Database


async def test_locks_of_a_suspended_process(state: Any, shared_database: Database) -> None:
    """Its locks, here that of the clock, are released after a few seconds."""
    engine = shared_database.engine
    assert engine is not None
    if engine.dialect.name == "sqlite":
        return  # a lock of a file goes with its process only
    connection: Connection = await deferToThread(state.db.dialect.create_engine().connect)
    transaction = connection.begin()
    connection.exec_driver_sql("UPDATE clock SET seq = seq WHERE id = 1")
    begun = state.reactor.seconds()
    await state.data.update.addBuildset(sourcestamps=[STAMP], builderNames=["b"], reason="r")
    assert state.reactor.seconds() - begun < MAX_IDLE_S + 5
    assert transaction.is_active  # this side does not know that the server has ended it
    connection.invalidate()
