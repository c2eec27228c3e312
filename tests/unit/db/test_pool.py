"""The pool's groups: retries, and the statements of a call."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from buildbot.db import groups as groups_module
from buildbot.db.dialects.context import transaction_of
from tests.support.building import add_build, add_request

TRANSIENT = OperationalError("SELECT 1", None, Exception("try again"))


@pytest.fixture
def impatient(master: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A master whose database calls one kind of error transient, and that does not wait between attempts."""
    monkeypatch.setattr(master.db.dialect, "is_transient", lambda error: error is TRANSIENT)
    monkeypatch.setattr(master.db.pool._closing, "wait", lambda delay: False)
    return master


async def test_retries(impatient: Any) -> None:
    """Transient failures are retried inside ``do``; events of a failed attempt are not announced."""
    attempts = []

    def thd(conn: Connection) -> str:
        attempts.append(conn)
        transaction_of(conn).events.append((("a/b",), len(attempts)))
        if len(attempts) < 4:
            raise TRANSIENT
        return "done"

    heard: list[Any] = []
    await impatient.mq.startConsuming(lambda key, message: heard.append(message), ("a", "b"))
    before = await impatient.data.clock()
    assert await impatient.db.pool.do(thd) == "done"
    assert len(attempts) == 4
    assert await impatient.data.clock() == before + 1


async def test_gives_up(impatient: Any) -> None:
    """With a bound: then the failure is the caller's."""
    attempts = []

    def thd(conn: Connection) -> None:
        attempts.append(conn)
        raise TRANSIENT

    for call in (impatient.db.pool.do, impatient.db.pool.read):
        attempts.clear()
        with pytest.raises(OperationalError):
            await call(thd)
        assert len(attempts) == groups_module.MAX_ATTEMPTS


async def test_other_errors_are_not_retried(impatient: Any) -> None:
    """Never retry an OperationalError without knowing which."""
    attempts = []

    def thd(conn: Connection) -> None:
        attempts.append(conn)
        raise OperationalError("SELECT 1", None, Exception("wrong SQL"))

    with pytest.raises(OperationalError):
        await impatient.db.pool.do(thd)
    assert len(attempts) == 1


async def test_statement_counts(master: Any) -> None:
    """A getter is one statement, a claim of one request is one; an update adds the statements of its events."""
    buildid, brid = await add_build(master)
    free = await add_request(master)

    async def cost(method: Any, *args: Any) -> int:
        before = master.db.pool.statements
        await method(*args)
        return int(master.db.pool.statements - before)

    db = master.db
    assert await cost(db.buildrequests.getBuildRequest, brid) == 1
    assert await cost(db.builds.getBuild, buildid) == 1
    assert await cost(db.masters.getMasters) == 1
    assert await cost(db.buildrequests.claimBuildRequests, [free]) == 1
    assert await cost(db.buildrequests.claimBuildRequests, []) == 0
    assert await cost(master.data.update.setBuildStateString, buildid, "x") <= 5
