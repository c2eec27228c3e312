"""The controller's end of an actor: starts the process and talks to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.contents import Contents
from bench.items import Item
from bench.measurement import Measurement

ROOT = Path(__file__).resolve().parent.parent
#: pending requests that a run may use up at most: more are not needed for a good figure
MOST_IDS = 20_000


class ActorError(Exception):
    """An actor failed; the message is its traceback."""


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
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=directory, env=_environment()
        )
        self._answer()

    def prepare(self, item: Item) -> None:
        """Bring its database into the state that an item needs."""
        if item.pending is None:
            return
        self.contents.finish_all()
        self._ask(do="forget")
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
        result = self._ask(do="run", item=item.name, seconds=seconds, limit=limit, **{kind: callers})
        measurement = Measurement(**result)
        self._ids -= measurement.calls * item.ids
        best = self._best.get((item.name, callers), 0.0)
        self._best[item.name, callers] = max(best, measurement.rate)
        return measurement

    def statements(self, item: Item, calls: int) -> float | None:
        """SQL statements of one call, as the actor counts them."""
        if item.ids:
            self._give(calls * item.ids)
        answer: float | None = self._ask(do="count", item=item.name, calls=calls)["statements"]
        self._ids -= calls * item.ids
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
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
        self._ask(do="give", ids=self.contents.add_pending(count))
        self.contents.flush()
        self._ids += count

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ActorError(f"{self.name} ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ActorError(f"{self.name}: {answer['error']}")
        return answer


def python(module: str, *arguments: str) -> list[str]:
    """A command that runs a module of this checkout."""
    return [sys.executable, "-m", module, *arguments]


def _environment() -> dict[str, str]:
    """Nothing that would change which packages are found."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSTARTUP")}
