"""The controller's end of an actor: starts the process and talks to it."""

from __future__ import annotations

from pathlib import Path

from bench.contents import Contents
from bench.items import Item
from bench.measurement import Measurement
from bench.process import Process

#: pending requests that a run may use up at most: more are not needed for a good figure
MOST_IDS = 20_000


class Actor:
    """One implementation on its own database.

    Attributes:
        name: how tables call it.
        contents: the rows of its database.
    """

    def __init__(self, name: str, command: list[str], contents: Contents, directory: Path) -> None:
        self.name = name
        self.contents = contents
        self._best: dict[tuple[str, int], float] = {}
        self._ids = 0
        self._process = Process(name, command, directory)
        self._process.answer()

    def prepare(self, item: Item) -> None:
        """Bring its database into the state that an item needs."""
        if item.pending is None:
            return
        self.contents.finish_all()
        self._process.ask(do="forget")
        self._ids = 0
        if item.finished:
            self.contents.add_finished(item.finished)
        if item.pending:
            self.contents.add_pending(item.pending)
        self.contents.settle()

    def run(self, item: Item, callers: int, seconds: float) -> Measurement:
        """One timed run of so many concurrent callers (``raw``: calls per commit)."""
        limit = self._provide(item, callers, seconds) if item.ids else None
        kind = "group" if self.name == "raw" else "callers"
        result = self._process.ask(do="run", item=item.name, seconds=seconds, limit=limit, **{kind: callers})
        measurement = Measurement(**result)
        self._ids -= measurement.calls * item.ids
        best = self._best.get((item.name, callers), 0.0)
        self._best[item.name, callers] = max(best, measurement.rate)
        return measurement

    def statements(self, item: Item, calls: int) -> float | None:
        """SQL statements of one call, as the actor counts them."""
        if item.ids:
            self._give(calls * item.ids)
        answer: float | None = self._process.ask(do="count", item=item.name, calls=calls)["statements"]
        self._ids -= calls * item.ids
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.close()
        self.contents.close()

    def _provide(self, item: Item, callers: int, seconds: float) -> int:
        """Enough pending requests for a run; how many calls there may be."""
        expected = self._best.get((item.name, callers))
        calls = 400 if expected is None else int(expected * seconds * 1.5) + 2 * callers
        wanted = max(min(calls * item.ids, MOST_IDS), item.ids * max(callers, 1) * 2)
        if self._ids < wanted:
            self._give(wanted - self._ids)
        return self._ids // item.ids

    def _give(self, count: int) -> None:
        self._process.ask(do="give", ids=self.contents.add_pending(count))
        self.contents.flush()
        self._ids += count
