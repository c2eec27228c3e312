"""The measured rounds: for each item all actors take turns, so that a busy neighbour meets all of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.actor import Actor
from bench.items import Item
from bench.measurement import Measurement, median_ratio

#: series of runs
Series = list[Measurement]


@dataclass
class Result:
    """All runs of one item with one number of callers.

    Attributes:
        runs: by actor: ``tenfold``, ``upstream``, ``raw`` (a commit per call), ``group`` (raw, many calls a commit).
        statements: SQL statements of one call of ours, commit and begin not counted.
    """

    item: Item
    callers: int
    runs: dict[str, Series] = field(default_factory=dict)
    statements: float | None = None

    def ratio(self, against: str) -> float | None:
        """Our rate through theirs, or None where they were not measured."""
        if against not in self.runs:
            return None
        return median_ratio(self.runs["tenfold"], self.runs[against])


def measure(item: Item, actors: dict[str, Actor], rounds: int, seconds: float) -> list[Result]:
    """Interleaved rounds of one item, one result for each number of callers."""
    for actor in actors.values():
        actor.prepare(item)
    turns = [(result, kind) for result in _results(item) for kind in _kinds(result, actors)]
    for result, kind in turns:  # once without measuring: everything is compiled and in memory
        if kind != "upstream" or not item.slow:
            _turn(result, kind, actors, seconds / 4)
    for number in range(rounds):
        for result, kind in turns:
            result.runs.setdefault(kind, []).append(_turn(result, kind, actors, seconds))
        progress(f"{item.title}: round {number + 1} of {rounds}")
    progress("")
    results = list({id(result): result for result, _ in turns}.values())
    results[0].statements = actors["tenfold"].statements(item, 5)
    return results


def _results(item: Item) -> Sequence[Result]:
    return [Result(item, callers) for callers in item.callers]


def _kinds(result: Result, actors: dict[str, Actor]) -> list[str]:
    item = result.item
    kinds = ["tenfold"]
    if item.raw and "raw" in actors:
        if result.callers == 1:
            kinds.append("raw")
        elif not item.reads:
            kinds.append("group")
    if item.upstream and "upstream" in actors:
        kinds.append("upstream")
    return kinds


def _turn(result: Result, kind: str, actors: dict[str, Actor], seconds: float) -> Measurement:
    item = result.item
    if kind == "raw":
        return actors["raw"].run(item, 0 if item.reads else 1, seconds / 2)
    if kind == "group":
        return actors["raw"].run(item, item.group, seconds / 2)
    return actors[kind].run(item, result.callers, seconds)


def progress(text: str) -> None:
    """Say on a terminal what is being done."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
