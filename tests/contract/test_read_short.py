"""Questions of a row or a few, which some databases are asked on the reactor's thread: callers cannot tell."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import bindparam, func, literal, select, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from buildbot.db import operations
from buildbot.db.dialects import postgresql_prepared
from buildbot.db.engine.statements import Statement
from buildbot.resources.changes import changes
from tests.support.building import STAMP, add_build
from tests.support.events import next_turn
from tests.support.reactor import run

_same = Statement(select(bindparam("value", literal(0).type)))
_wrong = Statement(select(func.no_such_function(bindparam("value"))))
_ids = Statement(select(changes.c.id).order_by(changes.c.id))


def thd_same(conn: Connection, value: int) -> int:
    """One statement."""
    return int(_same.scalar(conn, value=value))


def _asker(state: Any) -> Any:
    return getattr(state.db.pool._reactor_reader, "asker", None)


async def _connected(state: Any) -> None:
    asker = _asker(state)
    while asker is not None and asker._connection is None:
        await state.db.pool.read_short(thd_same, 1)
        await next_turn()


@pytest.fixture
def few(state: Any) -> Any:
    """The state layer, whose asker is connected if it has one."""
    run(_connected(state))
    return state


async def test_each_has_its_own(few: Any) -> None:
    """Many at once, of several kinds; each sees all that was committed before it was asked."""
    pool, state = few.db.pool, few.db.state
    buildid, brid = await add_build(few)
    objectid = await state.getObjectId("o", "C")
    for round in range(3):
        await state.setState(objectid, "n", round)
        asked = [pool.read_short(thd_same, number) for number in range(40)]
        asked += [state.getState(objectid, "n"), few.db.builds.getBuild(buildid), few.data.get({}, ("builds", buildid))]
        asked += [state.getState(objectid, "none", "default"), few.db.builds.getBuild(buildid + 1)]
        *numbers, value, build, entity, default, nothing = await gatherResults(asked)
        assert numbers == list(range(40))
        assert (value, default, nothing) == (round, "default", None)
        assert (build["brid"], entity["buildrequestid"]) == (brid, brid)


async def test_values(few: Any) -> None:
    """Numbers of any size, and text with what statements are written in."""
    for number in (-1, 2**15, 2**31, 2**62):
        assert await few.db.pool.read_short(thd_same, number) == number
    objectid = await few.db.state.getObjectId("o", "C")
    for name in ("100 %s", "$1", "'", "\N{SNOWMAN}\N{PILE OF POO}"):
        await few.db.state.setState(objectid, name, name)
        assert await few.db.state.getState(objectid, name) == name
    assert await few.data.get({}, ("builds", 2**62)) is None


async def test_errors(few: Any) -> None:
    """What the database refuses fails as from a thread, what the function raises as it is; others are answered."""

    def thd_wrong(conn: Connection) -> None:
        _wrong.all(conn, value=1)

    def thd_raise(conn: Connection) -> None:
        raise ValueError(f"{thd_same(conn, 7)}")

    pool = few.db.pool
    asked = [
        pool.read_short(thd_same, 1),
        pool.read_short(thd_wrong),
        pool.read_short(thd_same, 2),
        pool.read_short(thd_raise),
    ]
    assert await asked[0] == 1
    with pytest.raises(DBAPIError):
        await asked[1]
    assert await asked[2] == 2
    with pytest.raises(ValueError, match="7"):
        await asked[3]


async def test_more_than_a_few(few: Any) -> None:
    """Many rows, several statements, and SQLAlchemy's own calls: it takes a thread then, and is right."""
    update = few.data.update
    ids = await gatherResults([update.addChange(author="a", revision=str(n)) for n in range(250)])

    def thd_several(conn: Connection) -> list[int]:
        return [thd_same(conn, 1), thd_same(conn, 2), thd_same(conn, 3)]

    def thd_core(conn: Connection) -> int:
        return thd_same(conn, 1) + int(conn.execute(text("SELECT 41")).scalar_one())

    pool = few.db.pool
    assert await pool.read_short(lambda conn: [row[0] for row in _ids.all(conn)]) == sorted(ids)
    assert await pool.read_short(thd_several) == [1, 2, 3]
    assert await pool.read_short(thd_core) == 42


async def test_statements_are_counted(few: Any) -> None:
    """Each once, however often the function runs."""
    few.mq.stop()  # it looks at the log now and then
    before = few.db.pool.statements
    await few.db.pool.read_short(thd_same, 1)
    assert few.db.pool.statements - before == 1
    await few.db.pool.read_short(lambda conn: [thd_same(conn, 1), thd_same(conn, 2)])
    assert few.db.pool.statements - before == 3


async def test_lists_of_any_length(few: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long list a thread reads the next of its kind, until one is short again."""
    monkeypatch.setattr(operations, "SHORT_ROWS", 2)
    few.db.pool.long_lists.clear()
    await few.data.update.addBuildset(sourcestamps=[STAMP], reason="r", builderNames=["a", "b", "c"])
    pool, requests = few.db.pool, few.db.buildrequests
    for _ in range(2):
        assert len(await requests.getBuildRequests(claimed=False)) == 3
        assert len(await requests.getBuildRequests(buildername="a")) == 1
        assert pool.long_lists == {("BuildRequestsConnectorComponent.thdGetBuildRequests", "claimed")}
    ids = [request["brid"] for request in await requests.getBuildRequests()]
    await few.data.update.claimBuildRequests(ids)
    assert await requests.getBuildRequests(claimed=False) == []
    assert pool.long_lists == {("BuildRequestsConnectorComponent.thdGetBuildRequests",)}


async def test_many_statements(few: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of prepared statements of a connection is bounded."""
    monkeypatch.setattr(postgresql_prepared, "MAX_PREPARED", 5)
    if _asker(few) is not None:
        _asker(few)._statements.forget()  # of other tests
    for number in range(12):
        other = Statement(select(bindparam("value", literal(0).type), literal(0).label(f"l{number}")))
        thd = lambda conn, other=other: other.first(conn, value=3)  # noqa: E731
        assert list(await gatherResults([few.db.pool.read_short(thd), few.db.pool.read_short(thd)])) == [(3, 0), (3, 0)]
        if _asker(few) is not None:
            assert len(_asker(few)._statements._prepared) <= 5


async def test_lost_connection(few: Any) -> None:
    """Whoever asks is answered all the same, and the connection is made again."""
    asker = _asker(few)
    if asker is None:
        pytest.skip("only by psycopg")
    for _ in range(2):
        pid = asker._connection.info.backend_pid
        await deferToThread(_terminate, few.db.pool.engine, pid)
        asked = [few.db.pool.read_short(thd_same, number) for number in range(5)]
        assert list(await gatherResults(asked)) == list(range(5))
        asker._not_before = 0
        while asker._connection is None or asker._connection.info.backend_pid == pid:
            await few.db.pool.read_short(thd_same, 1)
            await next_turn()


def _terminate(engine: Engine, pid: int) -> None:
    with engine.connect() as conn:
        assert conn.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid}).scalar_one()
