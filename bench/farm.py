"""From a forced build to its end: whole masters with many real agents, ours and upstream's in turn.

Agents are real (``actors/agents.py``); only their command is replaced, by one that prints at once, so that the master
is what is measured. Each turn begins with a new database.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import http_load
from bench.farm_items import DELAY_S, FEW, SINGLE, FarmFigure, FarmItem, Shape
from bench.farm_servers import Farm, farms
from bench.report import number
from bench.rounds import progress
from bench.stream_items import Goal
from bench.upstream_env import NoUpstreamError

#: of upstream's builds: a round of all would take minutes
UPSTREAM_SHARE = 8
_LIST = "builds?limit=50&order=-buildid"

Figures = dict[str, float]


@dataclass
class FarmResult:
    """All runs of one item: figures by who was measured, a round each."""

    item: FarmItem
    runs: dict[str, list[Figures]] = field(default_factory=dict)

    def median(self, figure: str, who: str = "tenfold") -> float | None:
        """The median of the rounds; None if it was not measured."""
        seen = [run[figure] for run in self.runs.get(who, ()) if figure in run]
        return statistics.median(seen) if seen else None


@dataclass
class FarmReport:
    """What was seen on one backend; ``others`` has the reports of backends that were measured before."""

    backend: str
    results: list[FarmResult] = field(default_factory=list)
    others: Mapping[str, FarmReport] = field(default_factory=dict)

    def result(self, name: str) -> FarmResult | None:
        """That of an item."""
        return next((result for result in self.results if result.item.name == name), None)

    def ratio(self, result: FarmResult, figure: str, against: str) -> float | None:
        """Our figure over that of ``upstream``, of another backend, or of ``one`` master; None without it."""
        ours = result.median(figure)
        theirs: float | None
        if against == "upstream":
            theirs = result.median(figure, "upstream")
        else:
            report = self if against == "one" else self.others.get(against)
            other = report and report.result("masters_1" if against == "one" else result.item.name)
            theirs = other.median(figure) if other else None
        return ours / theirs if ours is not None and theirs else None

    def verdicts(self) -> Iterator[tuple[FarmResult, FarmFigure, float, Goal | None, float | None]]:
        """Each figure with its goal here, and what is compared with that: the figure or a ratio."""
        for result in self.results:
            for figure in result.item.figures:
                value = result.median(figure.name)
                if value is None:
                    continue
                goal = figure.goals.get(self.backend)
                reached = value
                if goal is not None and goal.against:
                    yield result, figure, value, goal, self.ratio(result, figure.name, goal.against)
                else:
                    yield result, figure, value, goal, reached

    def missed(self) -> list[str]:
        """A sentence for each goal that is missed."""
        return [
            f"{self.backend}: {result.item.title}, {figure.title}: {_shown(reached, goal)}, the goal is {_goal(goal)}"
            for result, figure, _, goal, reached in self.verdicts()
            if goal is not None and reached is not None and not goal.met(reached)
        ]


def measure(
    backend: str,
    directory: Path,
    items: Sequence[FarmItem],
    rounds: int,
    with_upstream: bool,
    quick: bool,
    others: Mapping[str, FarmReport],
) -> FarmReport:
    """Interleaved rounds of each item. ``quick``: a tenth of the work. Raises NoServerError."""
    report = FarmReport(backend, others=others)
    for item in items:
        if backend not in item.backends:
            continue
        result = FarmResult(item)
        report.results.append(result)
        for turn in range(rounds):
            for who in ("tenfold", "upstream") if item.upstream and with_upstream else ("tenfold",):
                progress(f"{item.name}, {backend}, {who}, round {turn + 1}")
                shape = item.shape if not quick else _tenth(item.shape)
                if who == "upstream":
                    shape = replace(shape, builds=max(shape.builds // UPSTREAM_SHARE, 1))
                try:
                    figures = _KINDS[item.kind](who, backend, shape, directory)
                except NoUpstreamError as reason:
                    print(f"{backend}: without upstream: {reason}")
                    with_upstream = False
                    continue
                result.runs.setdefault(who, []).append(figures)
    progress("")
    return report


def table(report: FarmReport) -> str:
    """One line per figure: ours, its goal, upstream's and the ratio."""
    rows = [("farm", "figure", "", "tenfold", "goal", "upstream", "of upstream")]
    shown = ""
    for result, figure, value, goal, reached in report.verdicts():
        theirs = result.median(figure.name, "upstream")
        mark = ""
        if goal is not None and reached is not None:
            mark = _goal(goal) if goal.met(reached) else f"! {_goal(goal)}"
        ratio = report.ratio(result, figure.name, "upstream")
        name = "" if result.item.title == shown else result.item.title
        shown = result.item.title
        rows.append(
            (
                name,
                figure.title,
                figure.unit,
                number(value),
                f"{_times(reached)} {mark}" if goal is not None and goal.against and reached is not None else mark,
                "" if theirs is None else number(theirs),
                "" if ratio is None else _times(ratio),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def as_json(report: FarmReport) -> list[dict[str, Any]]:
    """Everything that was measured."""
    return [{"backend": report.backend, "item": result.item.name, "runs": result.runs} for result in report.results]


# -- what is done -------------------------------------------------------------------------------------


def _work(who: str, backend: str, shape: Shape, directory: Path) -> Figures:
    """Single builds on the idle farm, then many, while somebody looks at the list of builds."""
    with farms(who, backend, shape, directory) as masters:
        (master,) = masters
        figures = _singles(master, counted=who == "tenfold") if shape.lines <= 1_000 else {}
        with _looking(master) as answers:
            figures |= _many(masters, shape)
        if len(answers) > 1:
            # an answer that was seen: of few answers, `statistics.quantiles` makes one that is later than the last
            figures["p95_ms"] = sorted(answers)[int(len(answers) * 0.95)] * 1e3
        return figures


def _single(who: str, backend: str, shape: Shape, directory: Path) -> Figures:
    """Single builds; with a slow network, how many round trips a step takes."""
    with farms(who, backend, shape, directory) as masters:
        figures = _singles(masters[0], counted=False)
    figures["trips"] = figures["single_ms"] / 1e3 / shape.steps / (2 * DELAY_S)
    return figures


def _arrive(who: str, backend: str, shape: Shape, directory: Path) -> Figures:
    """All agents come at once."""
    with farms(who, backend, shape, directory) as masters:
        (master,) = masters
        most = http_load.memory_mb(master.pid)
        return {
            "service_s": master.service_s,
            "service_cpu_s": master.service_cpu_s,
            "memory_mb": most,
            "agent_kb": (most - master.idle_mb) * 1024 / shape.agents,
        }


def _share(who: str, backend: str, shape: Shape, directory: Path) -> Figures:
    """Several masters on one database share the work."""
    with farms(who, backend, shape, directory) as masters:
        return _many(masters, shape)


def _drain(who: str, backend: str, shape: Shape, directory: Path) -> Figures:
    """How soon a free agent has its next build, with a long and with a short queue."""
    long = _gap(who, backend, shape, directory)
    short = _gap(who, backend, replace(shape, waiting=FEW, builds=FEW - shape.agents), directory)
    return {"next_ms": long, "next_few_ms": short, "next_ratio": long / short}


_KINDS: Mapping[str, Callable[[str, str, Shape, Path], Figures]] = {
    "work": _work,
    "single": _single,
    "arrive": _arrive,
    "share": _share,
    "drain": _drain,
}


def _singles(master: Farm, counted: bool) -> Figures:
    builders = [builder["builderid"] for builder in master.get("builders")["builders"]]
    took, transactions = [], []
    for index in range(SINGLE):
        before = master.transactions() if counted else 0.0
        begin = time.perf_counter()
        _wait(master, master.force(builders[index % len(builders)]))
        took.append(time.perf_counter() - begin)
        if counted:
            transactions.append(master.transactions() - before - 1)  # that of the force itself
    figures = {"single_ms": statistics.median(took) * 1e3}
    if counted:
        figures["transactions"] = min(transactions)  # others write too, now and then
    return figures


def _wait(master: Farm, bsid: int) -> None:
    while not master.get(f"buildsets/{bsid}")["buildsets"][0]["complete"]:
        time.sleep(0.003)


def _many(masters: Sequence[Farm], shape: Shape) -> Figures:
    builders = [builder["builderid"] for builder in masters[0].get("builders")["builders"]]
    cpu, begin = _cpu(masters), time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda i: masters[i % len(masters)].force(builders[i // len(masters) % len(builders)]),
                range(shape.builds),
            )
        )
    while masters[0].get("buildsets?complete=false&limit=1")["buildsets"]:
        time.sleep(0.1)
    took, used = time.perf_counter() - begin, _cpu(masters) - cpu
    lines = shape.builds * shape.steps * shape.lines
    return {
        "rate": shape.builds / took,
        "cpu_ms": used / shape.builds * 1e3,
        "lines": lines / took,
        "cpu_us_line": used / lines * 1e6,
        "memory_mb": max(http_load.memory_mb(master.pid) for master in masters),
    }


def _cpu(masters: Sequence[Farm]) -> float:
    return sum(http_load.cpu_seconds(master.pid) for master in masters)


@contextmanager
def _looking(master: Farm) -> Iterator[list[float]]:
    """The seconds that the list of builds takes, five times a second."""
    answers: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            begin = time.perf_counter()
            master.get(_LIST)
            answers.append(time.perf_counter() - begin)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(look)
        try:
            yield answers
        finally:
            stop.set()
        asked.result()


def _gap(who: str, backend: str, shape: Shape, directory: Path) -> float:
    """Milliseconds from the end of a build on a worker to its next one, the median of ``shape.builds``."""
    with farms(who, backend, shape, directory, agents=False) as masters:
        (master,) = masters
        follower = _Follower(master.http)
        with ThreadPoolExecutor(1) as pool:
            # A short queue may be done before all agents are there.
            started = pool.submit(master.start_agents)
            gaps = follower.gaps(shape.builds)
            started.result()
        return statistics.median(gaps) * 1e3


class _Follower:
    """Follows the builds of a master as events, from the moment when it is made."""

    def __init__(self, port: int) -> None:
        self._lines = http_load.stream(port, "/sse/listen/builds/*/*")
        next(self._lines)

    def gaps(self, count: int) -> list[float]:
        """Seconds from the end of a build to the next one of the same worker."""
        ended: dict[int, float] = {}
        gaps: list[float] = []
        for line in self._lines:
            if not line.startswith('data: {"key"'):
                continue
            now, told = time.perf_counter(), json.loads(line[6:])
            kind, workerid = told["key"][-1], told["message"]["workerid"]
            if kind == "finished":
                ended[workerid] = now
            elif kind == "new" and workerid in ended:
                gaps.append(now - ended.pop(workerid))
                if len(gaps) >= count:
                    break
        return gaps


def _tenth(shape: Shape) -> Shape:
    return replace(
        shape,
        agents=max(shape.agents // 10, min(shape.agents, 4)),
        builders=max(shape.builders // 10, min(shape.builders, 4)),
        builds=max(shape.builds // 10, 8),
        waiting=shape.waiting // 10,
        lines=shape.lines if shape.lines < 1_000 else shape.lines // 10,
    )


def _goal(goal: Goal) -> str:
    if not goal.against:
        return str(goal)
    return f"{goal.sign} {_times(goal.value)} of {goal.against}"


def _shown(reached: float, goal: Goal) -> str:
    return _times(reached) if goal.against else number(reached)


def _times(ratio: float) -> str:
    return f"1/{number(1 / ratio)}" if ratio < 0.5 else f"{number(ratio)}x"
