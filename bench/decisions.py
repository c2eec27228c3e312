"""Each bold piece of ours beside the plain way to do the same, in one process and in turns.

The figures stand in ``docs/decisions/``; a piece that is not clearly faster than the plain way has to go.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlalchemy.engine import Connection
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.threads import blockingCallFromThread
from twisted.web.resource import Resource
from twisted.web.server import Site

from bench.databases import new_database
from bench.http_load import request, run
from buildbot.db.engine import queues
from buildbot.db.engine.statements import Insert, Statement
from buildbot.resources.builders import builders
from buildbot.resources.changes import changes
from buildbot.state import StateLayer, openMaster
from buildbot.www.app import plain_error
from buildbot.www.http.messages import Request, Response
from buildbot.www.http.server import HttpServer

reactor: Any = _reactor

CALLERS = 50
_BODY = b"x" * 2000


@dataclass(frozen=True)
class Comparison:
    """One decision: seconds per unit of work of the plain way and of ours, in each round.

    Attributes:
        name: the piece.
        plain: the name of the plain way.
    """

    name: str
    plain: str
    ours_s: tuple[float, ...]
    plain_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as long the plain way takes: the median of the rounds."""
        return statistics.median(plain / ours for plain, ours in zip(self.plain_s, self.ours_s, strict=True))


def table(found: list[Comparison]) -> str:
    """The comparisons as lines of text."""
    lines = [f"{'':48}{'ours µs':>10}{'plain µs':>10}{'ratio':>8}"]
    for each in found:
        ours, plain = statistics.median(each.ours_s) * 1e6, statistics.median(each.plain_s) * 1e6
        lines.append(f"{each.name:48}{ours:10.0f}{plain:10.0f}{each.ratio:8.2f}  against {each.plain}")
    return "\n".join(lines)


def measure(backend: str, directory: Path, rounds: int, seconds: float) -> list[Comparison]:
    """Measure all decisions that matter for a database."""
    found: list[Comparison] = []
    _run_reactor()
    with new_database(backend, "decisions", directory) as url:
        master = _called(openMaster, url, "bench", True)
        try:
            _called(_prepare, master)
            found += _statements(master, rounds, seconds)
            found += _pool(master, rounds, seconds)
            if backend == "sqlite":
                found += _clock(master, rounds, seconds)
        finally:
            _called(master.close)
        if backend == "sqlite":
            found += _http(rounds, seconds)
    return found


def _turns(name: str, plain: str, ours: Callable[[], float], other: Callable[[], float], rounds: int) -> Comparison:
    ours(), other()
    pairs = [(ours(), other()) for _ in range(rounds)]
    return Comparison(name, plain, tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def _looped(work: Callable[[], Any], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds per call of ``work``, by a clock."""
    begun, count = clock(), 0
    while True:
        for _ in range(20):
            work()
        count += 20
        spent = clock() - begun
        if spent >= seconds:
            return spent / count


async def _prepare(master: StateLayer) -> None:
    await master.data.update.masterActive()
    for number in range(200):
        await master.data.update.addChange(author="somebody", revision=f"r{number}", branch="main", comments="c" * 80)
        await master.data.update.findBuilderId(f"builder{number}")


def _statements(master: StateLayer, rounds: int, seconds: float) -> Iterator[Comparison]:
    """Statements compiled once, on the driver's cursor, beside the same statements through SQLAlchemy."""
    one = select(*changes.columns).where(changes.c.id == bindparam("number"))
    compiled = Statement(one)
    adding = insert(builders).values({name: bindparam(name) for name in ("name", "name_hash", "tags")})
    add = Insert(adding)
    with master.db.pool.engine.connect() as conn:
        yield _turns(
            "a row by its id, compiled once",
            "Connection.execute with its cache",
            lambda: _looped(lambda: compiled.first(conn, number=7), seconds),
            lambda: _looped(lambda: tuple(conn.execute(one, {"number": 7}).first() or ()), seconds),
            rounds,
        )
        conn.rollback()
        names = (f"name{number}" for number in range(10**9))

        def row() -> dict[str, Any]:
            name = next(names)
            return {"name": name, "name_hash": name, "tags": "[]"}

        def inserted(work: Callable[[Connection, dict[str, Any]], Any]) -> float:
            with conn.begin() as transaction:
                taken = _looped(lambda: work(conn, row()), seconds)
                transaction.rollback()
            return taken

        yield _turns(
            "INSERT of a row, compiled once",
            "Connection.execute with its cache",
            lambda: inserted(lambda conn, row: add.run(conn, **row)),
            lambda: inserted(lambda conn, row: conn.execute(adding, row)),
            rounds,
        )
        if conn.dialect.name == "postgresql":
            yield _prepared(conn, rounds, seconds)


def _prepared(conn: Connection, rounds: int, seconds: float) -> Comparison:
    """A transaction of one statement without psycopg's cursor, beside one with it; CPU of the thread."""
    driver: Any = conn.connection.dbapi_connection
    names = ", ".join(column.name for column in changes.columns)
    text = f"SELECT {names} FROM changes WHERE id = %(number)s"

    def with_cursor() -> None:
        driver.cursor().execute(text, {"number": 7}).fetchall()
        driver.commit()

    def prepared() -> None:
        cursor = driver.prepared_cursor()
        cursor.execute(text, {"number": 7}, commit=True)
        cursor.fetchall()

    return _turns(
        "PostgreSQL: a transaction of one statement, CPU",
        "psycopg's cursor",
        lambda: _looped(prepared, seconds, time.thread_time),
        lambda: _looped(with_cursor, seconds, time.thread_time),
        rounds,
    )


def _pool(master: StateLayer, rounds: int, seconds: float) -> Iterator[Comparison]:
    """Group commit and reads on the reactor's thread, beside a transaction and a thread for each call."""
    pool, builds = master.db.pool, master.db.changes

    async def many(work: Callable[[int], Deferred[Any]], callers: int = CALLERS) -> float:
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            await DeferredList([work(number) for number in range(callers)], fireOnOneErrback=True)
            done += callers
        return (time.perf_counter() - begun) / done

    def add(number: int) -> Deferred[int]:
        return master.data.update.addChange(author="a", revision=str(number), branch="main")

    def grouped(size: int) -> float:
        before, queues.MAX_GROUP = queues.MAX_GROUP, size
        try:
            return float(_called(many, add))
        finally:
            queues.MAX_GROUP = before

    yield _turns(
        "group commit, 50 callers of addChange",
        "a transaction for each call",
        lambda: grouped(queues.MAX_GROUP),
        lambda: grouped(1),
        rounds,
    )
    reads = [
        lambda _: pool.read_short(builds.thdGetChange, 7),
        lambda _: pool.read(builds.thdGetChange, 7),
    ]
    for callers in (1, CALLERS):
        yield _turns(
            f"getChange on the reactor's thread, callers: {callers}",
            "a thread of the pool",
            lambda: float(_called(many, reads[0], callers)),  # noqa: B023  called before the loop goes on
            lambda: float(_called(many, reads[1], callers)),  # noqa: B023
            rounds,
        )


def _clock(master: StateLayer, rounds: int, seconds: float) -> Iterator[Comparison]:
    """SQLite's data version beside a SELECT of the clock: both answer "has anything changed?"."""
    pool = master.db.pool

    async def asked(work: Callable[[], Any]) -> float:
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            for _ in range(20):
                answer = work()
                if isinstance(answer, Deferred):
                    await answer
            done += 20
        return (time.perf_counter() - begun) / done

    yield _turns(
        "SQLite's data version",
        "reading the clock's row",
        lambda: float(_called(asked, pool.data_version)),
        lambda: float(_called(asked, lambda: ensureDeferred(master.data.clock()))),
        rounds,
    )


def _cpu_per_request(port: int, pid: int, seconds: float) -> float:
    load = run(port, pid, repeat(request("/")), 4, seconds)
    return load.cpu_seconds / len(load.latencies)


class _Plain(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def render_GET(self, request: Any) -> bytes:
        """The body."""
        request.setHeader(b"content-type", b"application/json")
        return _BODY


def _http(rounds: int, seconds: float) -> Iterator[Comparison]:
    """The HTTP server beside Twisted's, both with a handler that answers at once."""

    async def handler(request: Request) -> Response:
        return Response(200, (("Content-Type", "application/json"),), _BODY)

    async def listen(factory: Any) -> Any:
        return reactor.listenTCP(0, factory, interface="127.0.0.1")

    ours = HttpServer(reactor, handler, plain_error, None)
    ports = [_called(listen, factory) for factory in (ours, Site(_Plain()))]

    def load(port: Any) -> float:
        # The clients are another process, so that they do not take turns with the server.
        return clients.submit(_cpu_per_request, port.getHost().port, os.getpid(), seconds).result()

    clients = ProcessPoolExecutor(1, get_context("spawn"))
    try:
        yield _turns(
            "HTTP, 2 kB, 4 connections, CPU", "twisted.web", lambda: load(ports[0]), lambda: load(ports[1]), rounds
        )
    finally:
        clients.shutdown()
        for port in ports:
            _called(port.stopListening)
        _called(ours.stop)


@cache
def _run_reactor() -> None:
    """Run the reactor in a thread, to the end of the process: it cannot be started twice."""
    threading.Thread(target=lambda: reactor.run(installSignalHandlers=False), daemon=True).start()


def _called(work: Callable[..., Any], *args: Any) -> Any:
    """The result of something asynchronous, in the reactor's thread."""

    def call() -> Any:
        started = work(*args)
        return started if isinstance(started, Deferred) or not hasattr(started, "send") else ensureDeferred(started)

    return blockingCallFromThread(reactor, call)
