"""The event stream: the queue of one process, WebSocket clients, several masters, and what it takes of memory.

The null server writes a prepared frame to each client and calls each consumer: nothing can be faster. All take turns
within each round; a ratio is the median of the ratios of the rounds.
"""

from __future__ import annotations

import json
import statistics
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import stream_items, stream_servers
from bench.http_load import memory_mb
from bench.http_servers import Server
from bench.report import number
from bench.rounds import progress
from bench.stream_items import (
    BURST,
    CLIENTS,
    CONSUMERS,
    FLOOD,
    FLOOD_BYTES,
    MISSED,
    RATE,
    RATE_S,
    SLEEPERS,
    SUBSCRIBERS,
    Goal,
    StreamItem,
)
from bench.stream_load import Client, Crowd, crowd
from bench.upstream_env import NoUpstreamError

_BUILDS = "builds/*/*"
#: single updates that are timed in each round
_SINGLE = 10


@dataclass
class StreamResult:
    """The figures of one item by server, one for each round."""

    item: StreamItem
    backend: str
    figures: dict[str, list[float]] = field(default_factory=dict)

    def figure(self, server: str = "tenfold") -> float | None:
        """The median, or None where a server was not measured."""
        return statistics.median(self.figures[server]) if self.figures.get(server) else None

    def ratio(self, against: str) -> float | None:
        """Ours through theirs."""
        if not self.figures.get(against):
            return None
        return statistics.median(a / b for a, b in zip(self.figures["tenfold"], self.figures[against], strict=True))

    def goals(self) -> Iterator[tuple[Goal, float]]:
        """The goals with what was reached, of all that were measured."""
        for goal in self.item.goals_on(self.backend):
            reached = self.ratio(goal.against) if goal.against else self.figure()
            if reached is not None:
                yield goal, reached

    def missed(self) -> Iterator[str]:
        """A sentence for each goal that is missed."""
        for goal, reached in self.goals():
            if not goal.met(reached):
                what = f" of {goal.against}" if goal.against else f" {self.item.unit}"
                yield f"{self.backend}: {self.item.title}: {number(reached)}{what}, the goal is {goal}"


def measure(
    backend: str, directory: Path, items: Sequence[StreamItem], rounds: int, seconds: float, with_upstream: bool
) -> list[StreamResult]:
    """The chosen items. Raises NoServerError."""
    results = {item.name: StreamResult(item, backend) for item in stream_items.STREAM_ITEMS}
    names = {item.name for item in items}
    with ExitStack() as stack:
        servers = _servers(stack, backend, directory, with_upstream)
        jobs: list[tuple[set[str], Callable[[Server], dict[str, float]], Sequence[Server]]] = [
            ({"queue_match"}, lambda s: {"queue_match": _rate(s, "dispatch", seconds, CONSUMERS, 0)}, servers),
            ({"queue_other"}, lambda s: {"queue_other": _rate(s, "dispatch", seconds, 0, CONSUMERS)}, servers),
            ({"produce_match"}, lambda s: {"produce_match": _rate(s, "produce", seconds, CONSUMERS, 0)}, servers),
            ({"produce_other"}, lambda s: {"produce_other": _rate(s, "produce", seconds, 0, CONSUMERS)}, servers),
            ({"fanout", "burst"}, _fan_out, servers),
        ]
        for wanted, job, of in jobs:
            if wanted & names:
                for count in range(rounds + 1):
                    progress(f"{', '.join(sorted(wanted))}, {backend}: round {count} of {rounds}")
                    for server in of:
                        for name, figure in job(server).items():
                            if count:  # the first is for what has to be compiled and read from the disk
                                results[name].figures.setdefault(server.name, []).append(figure)
    if names & {"latency_same", "latency_other"}:
        with ExitStack() as stack:
            url = stack.enter_context(stream_servers.database(backend, directory))
            pair = [stack.enter_context(stream_servers.tenfold(url, f"{backend}-{n}", directory)) for n in (1, 2)]
            for _ in range(rounds):
                progress(f"latency, {backend}")
                for name, figure in _latency(*pair).items():
                    results[name].figures.setdefault("tenfold", []).append(figure)
    if names & {"resume_rate", "resume_memory"}:
        for _ in range(rounds):
            progress(f"resume, {backend}")
            for name, figure in _resume(backend, directory).items():
                results[name].figures.setdefault("tenfold", []).append(figure)
    if "subscribers" in names:
        progress(f"memory, {backend}")
        results["subscribers"].figures["tenfold"] = [_memory(backend, directory)]
    progress("")
    return [results[item.name] for item in items]


def table(results: Sequence[StreamResult]) -> str:
    """One line per figure, with its goals: ``!`` where one is missed."""
    titles = ("", "", "tenfold", "goal", "null", "of null", "upstream", "of upstream")
    rows = [titles, *(_row(result) for result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
    lines = []
    for first, unit, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[2:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), unit.ljust(widths[1]), *cells]).rstrip())
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def missed(results: Sequence[StreamResult]) -> list[str]:
    """A sentence for each goal that is missed."""
    return [sentence for result in results for sentence in result.missed()]


def as_json(results: Sequence[StreamResult]) -> list[dict[str, Any]]:
    """Everything that was measured."""
    return [
        {
            "backend": result.backend,
            "item": result.item.name,
            "unit": result.item.unit,
            "goals": [{"goal": str(goal), "against": goal.against, "reached": r} for goal, r in result.goals()],
            "figures": result.figures,
        }
        for result in results
    ]


def _servers(stack: ExitStack, backend: str, directory: Path, with_upstream: bool) -> list[Server]:
    url = stack.enter_context(stream_servers.database(backend, directory))
    servers = [
        stack.enter_context(stream_servers.tenfold(url, backend, directory)),
        stack.enter_context(stream_servers.null(directory)),
    ]
    if with_upstream:
        try:
            servers.append(stack.enter_context(stream_servers.upstream(backend, directory)))
        except NoUpstreamError as reason:
            print(f"{backend}: without upstream: {reason}")
    return servers


def _rate(server: Server, job: str, seconds: float, matching: int, others: int) -> float:
    server.ask(do="consumers", matching=matching, others=others)
    rate: float = server.ask(do=job, seconds=seconds)["rate"]
    server.ask(do="consumers", matching=0, others=0)
    return rate


def _fan_out(server: Server) -> dict[str, float]:
    server.ask(do="update", count=1)
    clients = crowd(server.port, _BUILDS, CLIENTS)
    with ThreadPoolExecutor(1) as asker:
        times = []
        for _ in range(_SINGLE):
            asked = asker.submit(server.ask, do="update", count=1)
            last = clients.collect(1)
            times.append((last - asked.result()["begun"]) * 1e3)
        asked = asker.submit(server.ask, do="update", count=BURST)
        last = clients.collect(BURST)
        took = last - asked.result()["begun"]
    clients.close()
    return {"fanout": statistics.median(times), "burst": CLIENTS * BURST / took}


def _latency(first: Server, second: Server) -> dict[str, float]:
    """From the moment before the commit of an update to the client that has its event."""
    first.ask(do="update", count=1)
    came: dict[str, list[tuple[int, float]]] = {"latency_same": [], "latency_other": []}
    with ThreadPoolExecutor(3) as pool:
        crowds = {name: crowd(server.port, _BUILDS, 1) for name, server in zip(came, (first, second), strict=True)}
        collected = [
            pool.submit(each.collect, int(RATE * RATE_S), _recorder(came[name])) for name, each in crowds.items()
        ]
        numbered = first.ask(do="offer", rate=RATE, seconds=RATE_S)["numbered"]
        for one in collected:
            one.result()
        for each in crowds.values():
            each.close()
    lasts = [last for last, _ in numbered]
    latencies = {
        name: [(now - numbered[bisect_left(lasts, number)][1]) * 1e3 for number, now in found]
        for name, found in came.items()
    }
    return {name: statistics.quantiles(found, n=100)[-1] for name, found in latencies.items()}


def _recorder(came: list[tuple[int, float]]) -> Callable[[bytes, float], None]:
    return lambda frame, now: came.append((json.loads(frame)["c"], now))


def _resume(backend: str, directory: Path) -> dict[str, float]:
    with (
        stream_servers.database(backend, directory, MISSED) as url,
        stream_servers.tenfold(url, f"{backend}-resume", directory) as server,
    ):
        before, most = memory_mb(server.pid), 0.0

        def look() -> None:
            nonlocal most
            most = max(most, memory_mb(server.pid))

        client = Client(server.port, _BUILDS, since=0)
        client.confirm()
        followers, begin = Crowd([client]), time.perf_counter()
        last = followers.collect(MISSED, idle=look)
        look()
        followers.close()
    return {"resume_rate": MISSED / (last - begin), "resume_memory": most - before}


def _memory(backend: str, directory: Path) -> float:
    most = 0.0
    with (
        stream_servers.database(backend, directory) as url,
        stream_servers.tenfold(url, f"{backend}-memory", directory) as server,
        ThreadPoolExecutor(1) as asker,
    ):

        def look() -> None:
            nonlocal most
            most = max(most, memory_mb(server.pid))

        sleepers = [Client(server.port, "bench/*/*", sleeps=True) for _ in range(SLEEPERS)]
        readers = crowd(server.port, "bench/*/*", SUBSCRIBERS - SLEEPERS)
        asked = asker.submit(server.ask, do="flood", count=FLOOD, size=FLOOD_BYTES)
        readers.collect(FLOOD, idle=look)
        asked.result()
        look()
        readers.close()
        for sleeper in sleepers:
            sleeper.close()
    return most


def _row(result: StreamResult) -> tuple[str, ...]:
    absolute = [_mark(goal, reached) for goal, reached in result.goals() if not goal.against]
    cells = [_cell(result.figure()), "".join(absolute)]
    for against in ("null", "upstream"):
        ratio = result.ratio(against)
        marks = [_mark(goal, reached) for goal, reached in result.goals() if goal.against == against]
        cells += [_cell(result.figure(against)), " ".join([_cell(ratio), *marks])]
    return (result.item.title, result.item.unit, *cells)


def _mark(goal: Goal, reached: float) -> str:
    return str(goal) if goal.met(reached) else f"! {goal}"


def _cell(value: float | None) -> str:
    return "" if value is None else number(value)
