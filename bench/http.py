"""One load generator over the same data in both servers: what a request costs, how fast it is, how much memory stays.

Ours is measured in three states: ``fresh``, keeping nothing; as it runs by default, where the same request is answered
again from memory while nothing changes; and with ``If-None-Match``. Requests that have a number have another one each
time.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import http_items, http_load, http_servers
from bench.http_data import FULL, QUICK
from bench.http_items import HttpItem
from bench.http_load import Load
from bench.http_servers import Server
from bench.report import number
from bench.rounds import progress
from bench.upstream_env import NoUpstreamError

#: clients of the runs whose rate and p95 are printed; CPU is that of one client
CLIENTS = 16
#: answers that are checked for completeness, at least
ANSWERS = 100_000
_ROOT = "/api/v2/"


@dataclass
class HttpResult:
    """All runs of one request: ``runs`` by state (``fresh``, ``kept``, ``unchanged``, ``upstream``) and clients."""

    item: HttpItem
    runs: dict[tuple[str, int], list[Load]] = field(default_factory=dict)
    statements: dict[str, int] = field(default_factory=dict)

    def cpu_ms(self, state: str) -> float | None:
        """Median CPU milliseconds of the server per request, one client."""
        runs = self.runs.get((state, 1))
        return statistics.median(run.cpu_ms for run in runs) if runs else None

    def ours(self) -> Iterator[Load]:
        """All runs of our server."""
        for (state, _), runs in self.runs.items():
            if state != "upstream":
                yield from runs

    def missed(self) -> Iterator[str]:
        """A sentence for each goal that is missed."""
        fresh, unchanged = self.cpu_ms("fresh"), self.cpu_ms("unchanged")
        if fresh is not None and fresh > self.item.goal_ms:
            yield f"{self.item.name}: {number(fresh)} ms, the goal is {self.item.goal_ms:g}"
        if unchanged is not None and unchanged > http_items.UNCHANGED_MS:
            yield f"{self.item.name} unchanged: {number(unchanged)} ms, the goal is {http_items.UNCHANGED_MS:g}"
        if self.statements["tenfold"] > http_items.STATEMENTS:
            yield f"{self.item.name}: {self.statements['tenfold']} statements, the goal is {http_items.STATEMENTS}"


@dataclass
class HttpReport:
    """All that was seen of one backend; ``memory`` has MB by server and moment, ``first_s`` seconds by server."""

    results: list[HttpResult] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    first_s: dict[str, float] = field(default_factory=dict)
    answers: int = 0
    incomplete: int = 0

    def missed(self) -> list[str]:
        """A sentence for each goal that is missed."""
        sentences = [sentence for result in self.results for sentence in result.missed()]
        for name, value, goal, unit in (
            ("idle memory", self.memory.get("tenfold idle"), http_items.IDLE_MB, "MB"),
            ("memory after the load", self.memory.get("tenfold loaded"), http_items.LOADED_MB, "MB"),
            ("first answer", self.first_s.get("tenfold"), http_items.FIRST_S, "s"),
            ("incomplete answers", self.incomplete, 0, ""),
        ):
            if value is not None and value > goal:
                sentences.append(f"{name}: {number(value)} {unit}, the goal is {goal:g}")
        return sentences


def measure(
    backend: str,
    directory: Path,
    items: Sequence[HttpItem],
    rounds: int,
    seconds: float,
    with_upstream: bool,
    quick: bool,
) -> HttpReport:
    """Interleaved rounds of each item, then memory, completeness and the first answer. Raises NoServerError."""
    report, size = HttpReport(), QUICK if quick else FULL
    with ExitStack() as stack:
        servers = _servers(stack, backend, directory, size, with_upstream)
        time.sleep(2)  # what a start leaves to do is done
        for name, server in servers.items():
            report.memory[f"{name} idle"] = http_load.memory_mb(server.pid)
        for item in items:
            progress(f"{item.name}, {backend}")
            report.results.append(_measure(item, servers, rounds, seconds))
        progress("counting answers")
        ours = servers["tenfold"]
        loads = [load for result in report.results for load in result.ours()]
        while sum(len(load.latencies) for load in loads) < (ANSWERS // 20 if quick else ANSWERS):
            loads += [http_load.run(ours.port, ours.pid, _requests(item), CLIENTS, seconds) for item in items]
        report.answers = sum(len(load.latencies) for load in loads)
        report.incomplete = sum(load.incomplete for load in loads)
        for name, server in servers.items():
            report.memory[f"{name} loaded"] = http_load.memory_mb(server.pid)
    with ExitStack() as stack:
        progress("first answers")
        waiting = replace(QUICK, pending=http_items.PENDING)
        for name, server in _servers(stack, backend, directory, waiting, with_upstream).items():
            report.first_s[name] = server.first_s
    progress("")
    return report


def table(report: HttpReport) -> str:
    """One line per request, then the other figures."""
    ours = ("fresh", "kept", "304", "SQL", "/s", "p95 ms")
    titles = ("request, CPU ms", "goal", *ours, "upstream", "SQL", "/s", "p95 ms", "of upstream")
    rows: list[tuple[str, ...]] = [titles, *(_row(result) for result in report.results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
    lines = []
    for row in rows:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *others]).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    lines += ["", *(f"memory, {name}: {number(mb)} MB" for name, mb in report.memory.items())]
    lines += [
        f"first answer with {http_items.PENDING:,} pending requests, {name}: {number(seconds)} s"
        for name, seconds in report.first_s.items()
    ]
    lines.append(f"incomplete answers: {report.incomplete} of {report.answers:,}")
    return "\n".join(lines)


def as_json(backend: str, report: HttpReport) -> list[dict[str, Any]]:
    """Everything that was measured."""
    entries: list[dict[str, Any]] = [
        {
            "backend": backend,
            "item": result.item.name,
            "goal_ms": result.item.goal_ms,
            "statements": result.statements,
            "runs": {
                f"{state} {clients}": [{"cpu_ms": r.cpu_ms, "rate": r.rate, "p95_ms": r.p95_ms} for r in runs]
                for (state, clients), runs in result.runs.items()
            },
        }
        for result in report.results
    ]
    others = {"memory_mb": report.memory, "first_s": report.first_s}
    return [*entries, {"backend": backend, **others, "answers": report.answers, "incomplete": report.incomplete}]


def _servers(stack: ExitStack, backend: str, directory: Path, size: Any, with_upstream: bool) -> dict[str, Server]:
    servers = {"tenfold": stack.enter_context(http_servers.tenfold(backend, directory, size))}
    if with_upstream:
        try:
            servers["upstream"] = stack.enter_context(http_servers.upstream(backend, directory, size))
        except NoUpstreamError as reason:
            print(f"{backend}: without upstream: {reason}")
    return servers


def _measure(item: HttpItem, servers: dict[str, Server], rounds: int, seconds: float) -> HttpResult:
    result = HttpResult(item)
    ours = servers["tenfold"]
    states = ["fresh", "kept", "unchanged", *(["upstream"] if "upstream" in servers else [])]
    turns = [(state, clients) for state in states for clients in (1, CLIENTS) if state != "unchanged" or clients == 1]
    ours.ask(do="reuse", on=False)
    for name, server in servers.items():
        result.statements[name] = server.statements(_path(item, 1))
    for count in range(rounds + 1):
        for state, clients in turns:
            server = servers["upstream"] if state == "upstream" else ours
            if server is ours:
                ours.ask(do="reuse", on=state != "fresh")
            if state == "unchanged":
                load = _unchanged(item, server, seconds)
            else:
                long = seconds if count else seconds / 4
                load = http_load.run(server.port, server.pid, _requests(item), clients, long)
            if count:  # the first is for what has to be compiled and read from the disk
                result.runs.setdefault((state, clients), []).append(load)
    return result


def _unchanged(item: HttpItem, server: Server, seconds: float) -> Load:
    """A client that has the answer; a master that checks in meanwhile may have changed something: then once more."""
    for attempt in range(5):
        _, head, _ = http_load.get(server.port, _path(item, 1))
        validator = next(line[6:] for line in head.decode().split("\r\n") if line.lower().startswith("etag: "))
        again = itertools.repeat(http_load.request(_path(item, 1), If_None_Match=validator))
        try:
            return http_load.run(server.port, server.pid, again, 1, seconds / 2, status=304)
        except http_load.BadAnswerError:
            if attempt == 4:
                raise
    raise AssertionError("unreachable")


_counter = itertools.count(1)


def _requests(item: HttpItem) -> Iterator[bytes]:
    return (http_load.request(_path(item, i * 7919 % item.numbers + 1)) for i in _counter)


def _path(item: HttpItem, value: int) -> str:
    return _ROOT + item.path.replace("{n}", str(value))


def _row(result: HttpResult) -> tuple[str, ...]:
    item = result.item
    fresh, theirs = result.cpu_ms("fresh"), result.cpu_ms("upstream")
    assert fresh is not None
    cells = [item.path, f"{item.goal_ms:g}", f"{number(fresh)} {'≤' if fresh <= item.goal_ms else '!'}"]
    cells += [_cell(result.cpu_ms(state)) for state in ("kept", "unchanged")]
    for state, name in (("fresh", "tenfold"), ("upstream", "upstream")):
        runs = result.runs.get((state, CLIENTS))
        if state == "upstream":
            cells.append(_cell(theirs))
        cells.append(str(result.statements.get(name, "")))
        cells.append(number(statistics.median(run.rate for run in runs)) if runs else "")
        cells.append(number(statistics.median(run.p95_ms for run in runs)) if runs else "")
    return (*cells, "" if theirs is None else f"1/{number(theirs / fresh)}")


def _cell(value: float | None) -> str:
    return "" if value is None else number(value)
