"""What each ratio is to reach (the requirement's table, Speed)."""

from __future__ import annotations

from collections.abc import Mapping

#: ``goals[item][callers][against]`` is a number for all backends or one for each; those without a number have no goal
Goal = float | Mapping[str, float]

_SEQUENTIAL: dict[str, Goal] = {"raw": 0.4, "upstream": {"sqlite": 10, "postgresql": 4}}
_CONCURRENT: dict[str, Goal] = {
    "group": {"sqlite": 0.2, "postgresql": 0.5, "mysql": 0.5},
    "upstream": {"sqlite": 40, "postgresql": 6},
}
_WRITE: dict[int, dict[str, Goal]] = {1: _SEQUENTIAL, 50: _CONCURRENT}
_READ: dict[int, dict[str, Goal]] = {
    1: {"upstream": {"sqlite": 8, "postgresql": 3}},
    50: {"upstream": {"sqlite": 15, "postgresql": 5}},
}

GOALS: dict[str, dict[int, dict[str, Goal]]] = {
    "addChange": _WRITE,
    "addBuildset_1": _WRITE,
    "addBuildset_10": {1: {"raw": 0.4, "upstream": {"sqlite": 40, "postgresql": 14}}, 50: _CONCURRENT},
    "claim_1": _WRITE,
    "claim_100": {1: {"upstream": 100}},
    "setState": _WRITE,
    "getBuild": _READ,
    "dataGetBuild": _READ,
    "getState": _READ,
    "getChange": _READ,
    # not slower, within what a measurement can tell
    "getChange_cached": {1: {"upstream": 0.9}},
    "lifecycle": {
        1: {"raw": 0.4, "upstream": {"sqlite": 15}},
        10: {"group": 0.2, "upstream": {"sqlite": 40}},
    },
    "pending_100": {1: {"raw": 0.45, "upstream": 5}},
    "pending_10000": {1: {"raw": 0.45, "upstream": 2}},
}

#: SQL statements that an item may take; this one is two calls of the API, with six for each
STATEMENTS = {"claim_100": 12}

#: how much slower anything may be with a long history
HISTORY = 1.2


def goal(backend: str, item: str, callers: int, against: str) -> float | None:
    """The ratio to reach against ``raw``, ``group`` (raw with many calls per commit) or ``upstream``; None: none."""
    wanted = GOALS.get(item, {}).get(callers, {}).get(against)
    if isinstance(wanted, Mapping):
        return wanted.get(backend)
    return wanted
