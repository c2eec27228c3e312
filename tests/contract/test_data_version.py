"""What answers over HTTP are kept by: the version of the database, and reads that make their own answer."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.engine import Connection, Engine

from buildbot.data import endpoint as endpoints
from buildbot.db.engine.query import count
from buildbot.mq.log import thdClock
from tests.support.building import add_requests, run_build


async def test_version_of_a_quiet_database(state: Any) -> None:
    """While the version is the same, the database is the same: reading moves nothing."""
    before = await state.data.version()
    await state.data.get({}, ("builds",))
    await state.db.builders.getBuilders()
    assert await state.data.version() == before
    assert before[1] == await state.data.clock()


async def test_any_write_is_another_version(state: Any) -> None:
    """Unannounced changes included."""
    seen = [await state.data.version()]
    await add_requests(state, "linux")
    seen.append(await state.data.version())
    await state.db.changes.addChange(author="somebody", files=[], comments="")
    seen.append(await state.data.version())
    await state.db.state.getObjectId("somebody", "Something")
    seen.append(await state.data.version())
    assert len({version for version, _ in seen}) == 4
    clocks = [clock for _, clock in seen]
    assert clocks == sorted(clocks)


async def test_another_masters_write_is_another_version(state: Any, second_master: Any) -> None:
    """At once, not only when its event is delivered."""
    before = await state.data.version()
    await second_master.db.state.getObjectId("somebody", "Something")
    assert (await state.data.version())[0] != before[0]


async def test_version_and_clock_belong_together(state: Any, second_master: Any) -> None:
    """The clock beside a version is no older than that version."""
    for number in range(5):
        await second_master.data.update.addChange(author=str(number))
        _, clock = await state.data.version()
        assert clock == await second_master.data.clock()


async def test_totals_are_exact(state: Any, second_master: Any) -> None:
    """A total counts what is there, however and by whomever it was written."""

    async def total() -> int:
        found: int = (await state.data.get({"limit": 1}, ("changes",))).total
        return found

    await state.data.update.addChange(author="a")
    await state.data.update.addChange(author="b")
    assert [await total(), await total()] == [2, 2]
    await state.db.changes.addChange(author="unannounced", files=[], comments="")
    assert await total() == 3
    await second_master.db.changes.addChange(author="elsewhere", files=[], comments="")
    assert await total() == 4


async def test_totals_while_others_write(state: Any) -> None:
    """A total is that of the page's moment; on a server that is written to, both come by one statement."""
    first, second = await run_build(state), await run_build(state, "other")
    steps = ("builds", first.buildid, "steps")
    lists: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (("changes",), {}),
        (("changes",), {"author__contains": ["a"], "project": None}),
        (("builds",), {"complete": False}),
        (("builds",), {"buildid__in": [first.buildid, second.buildid], "builderid__gt": 0}),
        (("buildrequests",), {"claimed": True, "priority__ge": 0}),
        (("builders", "linux", "builds"), {}),
        (steps, {"name__ne": "x"}),
        (("workers",), {}),
    ]
    for path, filters in lists:
        for limit in (1, 1, 1, 5):
            await state.data.update.addChange(author="a")
            await state.data.update.newStep(first.buildid, "s")
            before = state.db.pool.statements
            page = await state.data.get({"filters": filters, "limit": limit}, path)
            statements = state.db.pool.statements - before
            everything = await state.data.get({"filters": filters}, path)
            assert page.total == len(everything) and list(page) == everything[:limit]
        if state.db.dialect.remote and path == ("changes",):
            assert statements == 1
    assert (await state.data.get({"limit": 1, "offset": 10**6}, ("changes",))).total == 4 * len(lists)


async def test_read(state: Any) -> None:
    """``read`` gives the result of its function for a snapshot; there are only links that are expanded."""
    running = await run_build(state)
    clock = await state.data.clock()
    data, at = await state.data.read({"expand": ["builder", "buildrequest.buildset"]}, ("builds",), lambda *all: all)
    assert at == clock
    (build,) = data
    assert data.total == 1
    assert build["builder"]["name"] == "linux"
    assert build["buildrequest"]["buildset"]["reason"] == "why not"
    assert "worker" not in build
    assert "builds" not in build["builder"]
    single = await state.data.read({}, ("builds", running.buildid), lambda found, _: sorted(found))
    assert "steps" not in single


async def test_log_bytes(state: Any) -> None:
    """A log in parts: whole, with or without the letters of its streams, and as long as ``log_sizes`` says."""
    lines = "".join(f"{'oeh'[number % 3]}{number} grün {'x' * (number % 200)}\n" for number in range(20_000))
    running = await run_build(state, lines=lines)
    await state.data.update.appendLog(running.logid, "olast\n")
    lines += "olast\n"
    bare = "".join(line[1:] for line in lines.splitlines(keepends=True))
    for stripped, expected in ((False, lines), (True, bare)):
        got, line = b"", 0
        while (found := await state.data.log_bytes(running.logid, line, stripped)) is not None:
            got, line = got + found[0], found[1]
        assert got.decode() == expected
        assert line == 20_001
        sizes = await state.data.log_sizes(running.logid, stripped)
        position = 0
        for (first, size), (following, _) in zip(sizes, [*sizes[1:], (20_001, 0)], strict=True):
            text = "".join(expected.splitlines(keepends=True)[first:following]).encode()
            assert got[position : position + size] == text
            position += size
        assert position == len(got)


async def test_one_resource_takes_one_statement(state: Any) -> None:
    """The clock comes with it."""
    running = await run_build(state)
    clock = await state.data.clock()
    state.mq.stop()  # it looks at the log now and then
    await state.data.get({}, ("builds", running.buildid))
    before = state.db.pool.statements
    build, at = await state.data.snapshot({}, ("builds", running.buildid))
    assert (build["buildid"], at) == (running.buildid, clock)
    assert state.db.pool.statements - before == 1
    assert await state.data.snapshot({}, ("builds", 999)) == (None, clock)


async def test_total_of_a_later_moment(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and a total that were not read at the same clock are read again together."""
    await state.data.update.addChange(author="a")
    await state.data.update.addChange(author="b")
    before = await state.data.clock()
    in_between: list[int] = []

    def count_later(conn: Connection, *arguments: Any) -> tuple[int, int | None]:
        if not in_between:
            in_between.append(1)
            with state.db.pool.engine.begin() as other:
                other.exec_driver_sql("UPDATE clock SET seq = seq + 1")
        return count(conn, *arguments)

    monkeypatch.setattr(endpoints, "count", count_later)
    page, clock = await state.data.snapshot({"limit": 1}, ("changes",))
    assert (len(page), page.total) == (1, 2)
    # where the total is read in a snapshot anyway, what was written in between is not seen
    assert clock == (before + 1 if state.db.dialect.remote else before)


async def test_clock_without_a_thread(state: Any) -> None:
    """Many questions are answered by few; each knows of all that was committed before it was asked."""
    await _clock_connected(state)
    before, _ = await state.mq.clock()
    asked = [state.mq.clock() for _ in range(20)]
    await state.data.update.addChange(author="a")
    asked += [state.mq.clock() for _ in range(20)]
    clocks = [(await one)[0] for one in asked]
    assert clocks == sorted(clocks)
    # of those asked before it was written, some may be answered later
    assert (set(clocks[:20]) <= {before, before + 1}, set(clocks[20:])) == (True, {before + 1})


async def test_lost_clock_connection(state: Any) -> None:
    """Whoever asks is answered all the same, and the connection is made again."""
    for _ in range(2):
        await _clock_connected(state)
        await state.db.pool.do_with_engine(_cut_clock_off)
        assert await state.mq.clock() == await state.db.pool.read(thdClock)
        state.mq._clock_reader._not_before = 0


async def _clock_connected(state: Any) -> None:
    """Until the clock is read on the reactor's thread, where that is possible."""
    reader = state.mq._clock_reader
    if reader is None:
        pytest.skip("only by psycopg")
    while reader._connection is None:
        await state.mq.clock()
    await state.mq.clock()


def _cut_clock_off(engine: Engine) -> None:
    with engine.connect() as conn:
        cut = conn.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND position('SELECT seq, trimmed' in query) = 1 AND pid <> pg_backend_pid()"
        )
        assert cut.rowcount >= 1


async def test_many_totals(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals of a few lists are remembered, if their variables and filters are short; all are exact."""
    monkeypatch.setattr(endpoints, "MAX_TOTALS", 3)
    for author in ("a", "b", "b"):
        await state.data.update.addChange(author=author)
    remembered = state.data.endpoint(("changes",))._totals
    for author, count_ in [("a", 1), ("b", 2), ("x" * 2000, 0)] * 2 + [(str(n), 0) for n in range(5)]:
        page = await state.data.get({"filters": {"author": author}, "limit": 0}, ("changes",))
        assert page.total == count_
        assert len(remembered) <= 3
        assert not any("xxx" in key for key in remembered)
