"""The data that every actor writes, so that all of them store the same rows."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

BUILDERS = 100
WORKERS = 50
#: builds, changes and requests that every database has before anything is measured
FINISHED = 10_000
#: rows read in turn: more than any cache of objects holds, and as many whatever the length of the history
CYCLE = 1_000

REPOSITORY = "https://example.org/repo.git"
PROJECT = "proj"
BRANCH = "main"
AUTHOR = "Dev <dev@example.org>"
COMMENTS = "fix a thing\n\nlong text " * 4
FILES = ("a/b.c", "a/d.c", "README")
CHANGE_PROPERTIES: dict[str, Any] = {"owner": "dev", "prio": 3}
BUILDSET_PROPERTIES: dict[str, tuple[Any, str]] = {
    "owner": ("dev", "Scheduler"),
    "scheduler": ("s", "Scheduler"),
    "n": (3, "Scheduler"),
}
STAMP: dict[str, Any] = {"codebase": "", "repository": "", "branch": None, "revision": None, "project": PROJECT}

#: of a build's life
STEPS = 5
CHUNKS = 20
CHUNK_LINES = 50


def ids_in_turn(finished: int = FINISHED) -> Iterator[int]:
    """Ids from all over the history, again and again."""
    chosen = random.Random(3).sample(range(1, finished + 1), min(finished, CYCLE))
    return itertools.cycle(chosen)


def chunk() -> str:
    """What a step appends to its log at once: whole lines of stdio."""
    return "".join(
        f"o{i:06d} compiling src/module_{i * 7 % 97}/file_{i * 13 % 1009}.c -O2 -Wall -Werror ... ok\n"
        for i in range(CHUNK_LINES)
    )


def state(number: int) -> dict[str, Any]:
    """A value for ``setState``."""
    return {"a": number, "b": [1, 2, 3]}


def state_name(number: int) -> str:
    """One of fifty names."""
    return f"k{number % 50}"
