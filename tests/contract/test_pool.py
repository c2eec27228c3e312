"""Direct database access: the pool."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, delete, insert, inspect, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InvalidRequestError
from twisted.internet import threads
from twisted.internet.defer import DeferredList, gatherResults

from buildbot.db import groups
from buildbot.db.dialects.context import transaction_of
from buildbot.db.exceptions import PoolClosedError, is_unavailable
from buildbot.resources import objects
from buildbot.util.checks import name_hash
from tests.support.databases import MYSQLCLIENT
from tests.support.state import FAKE, Database


def thd_add(conn: Connection, name: str, fail: bool = False) -> str:
    """Add an object, or find that it is there; fails afterwards if told so."""
    conn.execute(insert(objects).values(name=name, class_name="", object_hash=name_hash(name)))
    if fail:
        raise ZeroDivisionError(name)
    return name


def thd_names(conn: Connection) -> list[str]:
    """Names of all objects."""
    return list(conn.execute(select(objects.c.name).order_by(objects.c.id)).scalars())


async def test_do(state: Any) -> None:
    """Call callable with a Connection object as first argument, and with additional positional or keyword arguments."""

    def thd(conn: Connection, *args: Any, **kwargs: Any) -> Any:
        assert isinstance(conn, Connection)
        return args, kwargs

    assert await state.db.pool.do(thd, 1, "two", three=3) == ((1, "two"), {"three": 3})
    assert await state.db.pool.do(callable=thd) == ((), {})


async def test_in_a_thread(state: Any, database: Database) -> None:
    """Call callable in a thread (the fake runs it at once)."""
    here = threading.current_thread()
    there = await state.db.pool.do(lambda conn: threading.current_thread())
    assert (there is here) == (database.backend == FAKE)


async def test_failure(state: Any) -> None:
    """Or with a failure representing any exception raised during its execution; nothing that it did remains."""
    with pytest.raises(ZeroDivisionError, match="x"):
        await state.db.pool.do(thd_add, "x", fail=True)
    assert await state.db.pool.do(thd_names) == []


async def test_committed(state: Any, second_master: Any) -> None:
    """The Deferred fires once the transaction is committed: later reads see it."""
    await state.db.pool.do(thd_add, "x")
    assert await second_master.db.pool.read(thd_names) == ["x"]


async def test_neighbours(state: Any) -> None:
    """Queued writes share one transaction, each in its savepoint, so that a failure does not touch its neighbours."""
    calls = [state.db.pool.do(thd_add, str(n), fail=n % 7 == 3) for n in range(50)]
    outcomes = []
    for call in calls:
        try:
            outcomes.append(await call)
        except ZeroDivisionError:
            outcomes.append(None)
    expected = [None if n % 7 == 3 else str(n) for n in range(50)]
    assert outcomes == expected
    assert sorted(await state.db.pool.do(thd_names)) == sorted(name for name in expected if name is not None)


async def test_database_error(state: Any) -> None:
    """A database's own error comes as itself, and the neighbours do not feel it."""
    calls = [state.db.pool.do(thd_add, name) for name in ("a", "b", "a", "c")]
    failed = []
    for number, call in enumerate(calls):
        try:
            await call
        except IntegrityError:
            failed.append(number)
    assert len(failed) == 1
    assert sorted(await state.db.pool.do(thd_names)) == ["a", "b", "c"]


async def test_one_after_another(state: Any) -> None:
    """Grouping must not change what a single caller can observe: a later call sees what an earlier one committed."""
    for number in range(5):
        await state.db.pool.do(thd_add, str(number))
        assert await state.db.pool.read(thd_names) == [str(n) for n in range(number + 1)]


async def test_snapshot(state: Any, second_master: Any) -> None:
    """A snapshot sees one moment, even if others commit meanwhile."""
    seen, written = threading.Event(), threading.Event()

    def thd_twice(conn: Connection) -> tuple[list[str], list[str]]:
        first = thd_names(conn)
        seen.set()
        assert written.wait(30)
        return first, thd_names(conn)

    await second_master.db.pool.do(thd_add, "before")
    reading = state.db.pool.snapshot(thd_twice)
    await threads.deferToThread(seen.wait, 30)
    await second_master.db.pool.do(thd_add, "after")
    written.set()
    assert await reading == (["before"], ["before"])


async def test_reads_do_not_wait(state: Any, second_master: Any) -> None:
    """Reads do not wait for writes."""
    writing, read = threading.Event(), threading.Event()

    def thd_hold(conn: Connection) -> None:
        thd_add(conn, "held")
        writing.set()
        assert read.wait(30)

    held = state.db.pool.do(thd_hold)
    await threads.deferToThread(writing.wait, 30)
    assert await state.db.pool.read(thd_names) == []
    assert await second_master.db.pool.snapshot(thd_names) == []
    read.set()
    await held
    assert await state.db.pool.read(thd_names) == ["held"]


async def test_with_engine(state: Any) -> None:
    """Similar to do, call callable in a thread, but with an Engine object as first argument."""

    def thd(engine: Engine, first: int, second: int = 0) -> Any:
        assert isinstance(engine, Engine)
        return first, second

    assert await state.db.pool.do_with_engine(thd, 1, second=2) == (1, 2)
    with pytest.raises(ZeroDivisionError):
        await state.db.pool.do_with_engine(lambda engine: 1 / 0)


async def test_close(shared_database: Database) -> None:
    """Closing finishes what was asked for; what comes later is refused."""
    from buildbot.master import openMaster

    assert shared_database.url is not None
    master = await openMaster(shared_database.url, name="closing")
    calls = gatherResults([master.db.pool.do(thd_add, str(n)) for n in range(10)])
    closed = master.close()
    assert await calls == [str(n) for n in range(10)]
    await closed
    for refused in (master.db.pool.do, master.db.pool.read, master.db.pool.snapshot, master.db.pool.do_with_engine):
        with pytest.raises(PoolClosedError):
            await refused(lambda _: None)


async def test_deallocated(state: Any, database: Database) -> None:
    """A call may do away with what the driver has prepared: the group is run again, and others do not feel it."""
    text = "DEALLOCATE ALL" if state.db.dialect.name == "postgresql" else "SELECT 1"

    def thd(conn: Connection, name: str) -> str:
        conn.exec_driver_sql(text)
        return thd_add(conn, name)

    times = 8  # psycopg prepares a statement at its fourth execution
    for number in range(times):
        await state.data.update.addChange(author="a", revision="1", repository="r")
        assert await state.db.pool.do(thd, f"x{number}") == f"x{number}"
        assert len(await state.db.pool.do(thd_names)) == number + 1
    assert len(await state.data.get({}, ("changes",))) == times


async def test_only_locked(state: Any, second_master: Any) -> None:
    """A call that has locked a row and written nothing lets it go, also after one that wrote."""
    await state.data.update.findSchedulerId("s")
    locked = select(objects.c.id).with_for_update(nowait=True)
    await state.db.pool.do(thd_add, "x")
    await state.db.pool.do(lambda conn: conn.execute(locked).all())
    assert len(await second_master.db.pool.do(lambda conn: conn.execute(locked).all())) == 1


def _calls_beside(state: Any, guilty: Any) -> list[Any]:
    """Calls that become one group with one of another kind among them."""
    calls = [state.db.pool.do(thd_add, f"before {n}") for n in range(3)]
    return [*calls, state.db.pool.do(guilty), *(state.db.pool.do(thd_add, f"after {n}") for n in range(3))]


async def test_commit_in_a_call(state: Any) -> None:
    """A call may say ``commit()``, as existing functions do: all of it is committed at its return, or nothing."""

    def fails(conn: Connection) -> None:
        thd_add(conn, "guilty")
        conn.commit()
        raise ZeroDivisionError

    def commits(conn: Connection) -> str:
        thd_add(conn, "guilty")
        conn.commit()
        thd_add(conn, "after it")
        return "done"

    results = await DeferredList(_calls_beside(state, fails), consumeErrors=True)
    assert [success for success, _ in results] == [True] * 3 + [False] + [True] * 3
    assert "guilty" not in await state.db.pool.do(thd_names)
    assert (await DeferredList(_calls_beside(state, commits)))[3] == (True, "done")
    assert {"guilty", "after it"} <= set(await state.db.pool.do(thd_names))


@pytest.mark.parametrize("way", ["rollback", "close"])
async def test_transaction_is_the_pools(state: Any, way: str) -> None:
    """A call that would end the transaction is refused; its neighbours are stored, once, and others work after it."""

    def guilty(conn: Connection) -> None:
        thd_add(conn, "guilty")
        getattr(conn, way)()

    for _ in range(2):
        await state.db.pool.do(lambda conn: conn.execute(delete(objects)).rowcount)
        results = await DeferredList(_calls_beside(state, guilty), consumeErrors=True)
        assert [success for success, _ in results] == [True] * 3 + [False] + [True] * 3
        results[3][1].trap(InvalidRequestError)
        expected = [f"{when} {n}" for when in ("before", "after") for n in range(3)]
        assert sorted(await state.db.pool.do(thd_names)) == sorted(expected)
    with pytest.raises(InvalidRequestError):
        await state.db.pool.read(lambda conn: getattr(conn, way)())
    assert await state.db.pool.snapshot(thd_names) == await state.db.pool.read(thd_names)


@pytest.mark.parametrize("statement", ["COMMIT", "rollback", " ROLLBACK WORK", "begin"])
async def test_transaction_in_words(state: Any, statement: str) -> None:
    """Nor can a statement end it."""

    def guilty(conn: Connection) -> None:
        thd_add(conn, "guilty")
        conn.exec_driver_sql(statement)

    with pytest.raises(InvalidRequestError, match="take this out"):
        await state.db.pool.do(guilty)
    assert await state.db.pool.do(thd_names) == []


async def test_schema_in_a_call(state: Any) -> None:
    """A change of the schema commits on MySQL: it is refused there, and is part of the transaction elsewhere."""
    table = Table("added_by_a_call", MetaData(), Column("id", Integer, primary_key=True))

    def thd(conn: Connection) -> None:
        thd_add(conn, "x")
        table.create(conn)
        raise ZeroDivisionError

    expected = InvalidRequestError if state.db.dialect.name in ("mysql", "mariadb") else ZeroDivisionError
    with pytest.raises(expected):
        await state.db.pool.do(thd)
    assert await state.db.pool.do(thd_names) == []
    assert not await state.db.pool.read(lambda conn: inspect(conn).has_table(table.name))

    def thd_temporary(conn: Connection) -> Any:
        conn.exec_driver_sql("CREATE TEMPORARY TABLE briefly (a INTEGER)")
        conn.exec_driver_sql("INSERT INTO briefly VALUES (1)")
        return conn.exec_driver_sql("SELECT a FROM briefly").scalar()

    assert await state.db.pool.do(thd_temporary) == 1


async def test_options_of_a_call(state: Any) -> None:
    """Options that a call gives to its connection are gone after it."""

    def thd(conn: Connection) -> str:
        found = conn.execution_options(stream_results=True, mine=1).execute(select(objects.c.name)).fetchone()
        assert found is not None
        return str(found[0])

    def nested(conn: Connection) -> str:
        assert "mine" not in conn.get_execution_options()
        with conn.begin_nested():
            return thd_add(conn, "y")

    await state.db.pool.do(thd_add, "x")
    for _ in range(state.db.dialect.writers):
        assert await state.db.pool.do(thd) == "x"
    assert await state.db.pool.do(nested) == "y"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), CancelledError(), GeneratorExit()])
async def test_interrupted(state: Any, error: BaseException) -> None:
    """What is no Exception arrives at the caller, too, rolls back its call alone, and ends no thread."""

    def guilty(conn: Connection) -> None:
        thd_add(conn, "guilty")
        raise error

    for _ in range(3):
        await state.db.pool.do(lambda conn: conn.execute(delete(objects)).rowcount)
        results = await DeferredList(_calls_beside(state, guilty), consumeErrors=True)
        assert [success for success, _ in results] == [True] * 3 + [False] + [True] * 3
        assert results[3][1].value is error
        assert len(await state.db.pool.do(thd_names)) == 6
    for ask in (state.db.pool.read, state.db.pool.snapshot, state.db.pool.do_with_engine):
        for _ in range(3):
            (result,) = await DeferredList([ask(_raise, error)], consumeErrors=True)
            assert (result[0], result[1].value) == (False, error)
    assert len(await state.db.pool.snapshot(thd_names)) == 6


def _raise(conn: Any, error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("kind", ["read", "snapshot", "do"])
async def test_lost_each_time(state: Any, database: Database, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A call whose connection is lost at each attempt fails; the next calls have a connection as good as the first."""
    end = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mysql": "KILL CONNECTION_ID()",
        MYSQLCLIENT: "KILL CONNECTION_ID()",
    }.get(database.backend)
    if end is None:
        pytest.skip("only with a server")
    monkeypatch.setattr(groups, "MAX_ATTEMPTS", 3)
    await state.db.pool.do(thd_add, "x")
    for _ in range(4):
        with pytest.raises(DBAPIError):
            await getattr(state.db.pool, kind)(lambda conn: conn.exec_driver_sql(end).scalar())
    for _ in range(4):
        assert await state.db.pool.read(thd_names) == ["x"]
        assert await state.db.pool.snapshot(thd_names) == ["x"]
    await state.data.update.findSchedulerId("s")


async def test_invalidated(state: Any, database: Database) -> None:
    """A call may say that its connection is broken: it fails, its neighbours do not feel it."""
    if database.backend == FAKE:
        pytest.skip("its only connection is its database")

    def guilty(conn: Connection) -> None:
        thd_add(conn, "guilty")
        conn.invalidate()

    results = await DeferredList(_calls_beside(state, guilty), consumeErrors=True)
    assert [success for success, _ in results] == [True] * 3 + [False] + [True] * 3
    assert len(await state.db.pool.do(thd_names)) == 6
    for _ in range(3):
        await state.db.pool.read(lambda conn: conn.invalidate())
    for _ in range(3):
        assert len(await state.db.pool.snapshot(thd_names)) == 6


async def test_too_long(state: Any) -> None:
    """A text, or a message, that the server does not take is an error of its caller alone, which says how long it may
    be; other databases store it.
    """
    long = "\N{SNOWMAN}" * 6_000_000
    objectid = await state.db.state.getObjectId("o", "C")

    def thd_message(conn: Connection) -> None:
        thd_add(conn, "told")
        transaction_of(conn).events.append((("a/b",), long))

    is_limited = state.db.dialect.name in ("mysql", "mariadb")
    stored = await DeferredList([state.db.state.setState(objectid, "n", long)], consumeErrors=True)
    results = await DeferredList(_calls_beside(state, thd_message), consumeErrors=True)
    assert [success for success, _ in results] == [True] * 3 + [not is_limited] + [True] * 3
    assert len(await state.db.pool.do(thd_names)) == (7 if is_limited else 8)
    if not is_limited:
        assert await state.db.state.getState(objectid, "n") == long
        return
    for error in (stored[0][1].value, results[3][1].value):
        assert isinstance(error, DataError)
        assert "max_allowed_packet" in str(error.orig)
        assert not is_unavailable(error)
    assert await state.db.state.getState(objectid, "n", None) is None
