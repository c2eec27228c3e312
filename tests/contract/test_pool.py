"""Direct database access: the pool."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError
from twisted.internet import threads
from twisted.internet.defer import gatherResults

from buildbot.db.exceptions import PoolClosedError
from buildbot.resources import objects
from buildbot.util.checks import name_hash
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

    def thd(conn: Connection) -> str:
        conn.exec_driver_sql(text)
        return thd_add(conn, "x")

    await state.data.update.addChange(author="a", revision="1", repository="r")
    assert await state.db.pool.do(thd) == "x"
    await state.data.update.addChange(author="a", revision="2", repository="r")
    assert await state.db.pool.do(thd_names) == ["x"]
    assert len(await state.data.get({}, ("changes",))) == 2


async def test_only_locked(state: Any, second_master: Any) -> None:
    """A call that has locked a row and written nothing lets it go, also after one that wrote."""
    await state.data.update.findSchedulerId("s")
    locked = select(objects.c.id).with_for_update(nowait=True)
    await state.db.pool.do(thd_add, "x")
    await state.db.pool.do(lambda conn: conn.execute(locked).all())
    assert len(await second_master.db.pool.do(lambda conn: conn.execute(locked).all())) == 1
