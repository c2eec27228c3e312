"""What each operation costs in SQL statements, the clock and the log of events included.

The numbers are what was reached, so that a statement more is seen; whatever the number of ids, they stay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert, select, text, true
from twisted.internet.defer import gatherResults

from buildbot.resources.changes import changes
from tests.support.building import STAMP, add_request, add_requests

#: by operation: on a database that returns rows and has one writer, on one that returns rows, on MariaDB, which does so
#: for INSERT
BUDGETS = {
    "addChange": (4, 3, 4),
    "addBuildset, 1 builder": (7, 5, 7),
    "addBuildset, 10 builders": (7, 5, 7),
    "claim, 1 id": (3, 2, 4),
    "claim, 100 ids": (3, 3, 4),
    "complete, 1 id": (5, 5, 8),
    "complete, 100 ids": (5, 6, 8),
    "setState": (1, 2, 3),
    "newBuild": (5, 4, 5),
    "newStep": (4, 3, 4),
    "startStep": (3, 2, 4),
    "newLog": (4, 3, 4),
    "appendLog": (4, 3, 5),
    "finishStep": (3, 2, 4),
    "finishLog": (7, 6, 8),
    "finishBuild": (4, 3, 5),
}

Count = Callable[[str, Awaitable[Any]], Awaitable[Any]]


@pytest.fixture
def count(state: Any) -> Count:
    """Awaits an operation and compares its statements with its budget."""
    state.mq.stop()  # it looks at the log now and then
    dialect = state.db.dialect
    column = 2 if not dialect.returns_updated else 1 if dialect.locks_rows else 0

    async def counted(operation: str, call: Awaitable[Any]) -> Any:
        before = state.db.pool.statements
        result = await call
        assert state.db.pool.statements - before <= BUDGETS[operation][column], operation
        return result

    return counted


async def test_changes_and_buildsets(state: Any, count: Count) -> None:
    """A change; a buildset with one builder and with ten, all known before."""
    update = state.data.update
    names = [f"b{i}" for i in range(10)]
    await update.addBuildset(sourcestamps=[STAMP], builderNames=names)
    await count("addChange", _later(lambda: update.addChange(author="a", revision="r1", project="p")))
    for job, wanted in (("addBuildset, 1 builder", names[:1]), ("addBuildset, 10 builders", names)):
        await count(job, _later(partial(update.addBuildset, sourcestamps=[STAMP], builderNames=wanted)))


@pytest.mark.parametrize("number", [1, 100])
async def test_claims(state: Any, count: Count, number: int) -> None:
    """At most six statements a call where rows are returned, for any number of ids."""
    update = state.data.update
    _, ids = await add_requests(state, *(f"b{i}" for i in range(number)))
    what = "1 id" if number == 1 else "100 ids"
    assert await count(f"claim, {what}", _later(lambda: update.claimBuildRequests(ids)))
    await count(f"complete, {what}", _later(lambda: update.completeBuildRequests(ids, 0)))


async def test_claims_at_once(state: Any, second_master: Any) -> None:
    """Single claims that wait together are one, and those that are lost to another master cost the others nothing."""
    state.mq.stop()
    update = state.data.update
    _, ids = await add_requests(state, *(f"b{i}" for i in range(20)))
    for lost in ids[::3]:
        assert await second_master.data.update.claimBuildRequests([lost])
    calls, before = [update.claimBuildRequests([brid]) for brid in ids], state.db.pool.statements
    assert [await call for call in calls] == [brid not in ids[::3] for brid in ids]
    # the first call may have had a transaction of its own
    assert state.db.pool.statements - before <= 2 * BUDGETS["claim, 100 ids"][2]
    claimed = await state.db.buildrequests.getBuildRequests(claimed="mine")
    assert [request["brid"] for request in claimed] == [brid for brid in ids if brid not in ids[::3]]


async def test_state(state: Any, count: Count) -> None:
    """A value over another."""
    objectid = await state.db.state.getObjectId("o", "C")
    await state.db.state.setState(objectid, "n", 1)
    await count("setState", _later(lambda: state.db.state.setState(objectid, "n", 2)))


async def test_builds(state: Any, count: Count) -> None:
    """A build's life."""
    update = state.data.update
    brid = await add_request(state)
    await update.claimBuildRequests([brid])
    buildid = await count("newBuild", _later(lambda: update.newBuild(brid)))
    step = await count("newStep", _later(lambda: update.newStep(buildid, "compile")))
    await count("startStep", _later(lambda: update.startStep(step["stepid"])))
    logid = await count("newLog", _later(lambda: update.newLog(step["stepid"], "stdio", "s")))
    await count("appendLog", _later(lambda: update.appendLog(logid, "oline\n")))
    await count("finishStep", _later(lambda: update.finishStep(step["stepid"], 0)))
    await count("finishLog", _later(lambda: update.finishLog(logid, "omore\n")))
    await count("finishBuild", _later(lambda: update.finishBuild(buildid, 0)))


async def _later(call: Callable[[], Any]) -> Any:
    return await call()


async def test_plans_are_kept(state: Any) -> None:
    """PostgreSQL plans an INSERT of a change a few times, not each time, also once it knows that few lines are many."""
    if state.db.dialect.name != "postgresql":
        return  # the others keep no plans, or make them at once
    pool, update = state.db.pool, state.data.update
    change = {"author": "a", "branch": "main", "repository": "r"}
    await update.addChange(**change, revision="early")
    columns = [column.name for column in changes.columns if column.name != "id"]
    copies = select(*(changes.c[name] for name in columns)).join_from(changes, text("generate_series(1, 9999)"), true())
    await pool.do(lambda conn: conn.execute(insert(changes).from_select(columns, copies)) and None)
    await pool.do(lambda conn: conn.execute(text("ANALYZE changes")) and None)
    for number in range(60):
        await update.addChange(**change, revision=f"late {number}")
    planned = text("SELECT custom_plans FROM pg_prepared_statements WHERE statement LIKE 'INSERT INTO changes %'")
    custom = await gatherResults([pool.do(lambda conn: conn.execute(planned).scalars().all()) for _ in range(8)])
    assert any(custom)
    assert max(count for counts in custom for count in counts) <= 10
