"""Records of processes: lines of JSON that survive the death of their writer."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Records:
    """Appends to ``NAME.jsonl``, one write per line, so that a killed process loses none that it has written."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self._file = os.open(directory / f"{name}.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)

    def write(self, kind: str, **values: Any) -> None:
        """Write one record down."""
        os.write(self._file, json.dumps({"kind": kind, "by": self.name, **values}).encode() + b"\n")

    def count(self, what: str, number: int = 1) -> None:
        """Count something; the sums are written by ``flush``."""
        self.counts[what] += number

    def flush(self) -> None:
        """Write the counters since the last call."""
        if self.counts:
            self.write("counts", counts=dict(self.counts))
            self.counts.clear()

    def violation(self, what: str, **details: Any) -> None:
        """Write down that a promise was broken, with all that helps to find out why."""
        self.write("violation", what=what, **details)


def read_all(directory: Path) -> Iterator[dict[str, Any]]:
    """All records of a run; a line cut short by a kill is left out."""
    for path in sorted(directory.glob("*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)
