"""What is measured of a whole farm, with the goals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.stream_items import Goal

#: one way through the network that is put between agents and master, in seconds
DELAY_S = 0.01
#: single builds on an idle farm, of which the median counts
SINGLE = 10

#: requests that wait where a long queue is compared with a short one
FEW = 24

Goals = Mapping[str, Goal | None]


def _on(sqlite: Goal | None, postgresql: Goal | None, mysql: Goal | None) -> Goals:
    return {"sqlite": sqlite, "postgresql": postgresql, "mysql": mysql}


def _everywhere(goal: Goal) -> Goals:
    return _on(goal, goal, goal)


@dataclass(frozen=True)
class Shape:
    """A farm and its work.

    Attributes:
        agents: for each master.
        steps, lines: of a build; lines are those of each step.
        builds: so many are measured, of upstream an eighth.
        masters: on one database.
        waiting: requests that wait before the master starts.
        delayed: whether the network between agents and master takes `DELAY_S` each way.
    """

    agents: int = 20
    builders: int = 10
    steps: int = 5
    lines: int = 200
    builds: int = 200
    masters: int = 1
    waiting: int = 0
    delayed: bool = False


@dataclass(frozen=True)
class FarmFigure:
    """One number of an item, by the name that runs give it."""

    name: str
    title: str
    unit: str
    goals: Goals = field(default_factory=dict)


@dataclass(frozen=True)
class FarmItem:
    """A farm that is measured.

    Attributes:
        name: what ``--only`` and the JSON file call it.
        kind: what is done, a function of ``bench.farm``.
        upstream: whether upstream takes its turn.
        backends: on which it is measured.
    """

    name: str
    title: str
    kind: str
    shape: Shape
    figures: tuple[FarmFigure, ...]
    upstream: bool = False
    backends: tuple[str, ...] = ("sqlite", "postgresql", "mysql")


def _more(value: float, against: str = "") -> Goal:
    return Goal("≥", value, against)


def _less(value: float, against: str = "") -> Goal:
    return Goal("≤", value, against)


_SHARED = ("postgresql", "mysql")

FARM_ITEMS = (
    FarmItem(
        "builds",
        "20 agents, 10 builders, 5 steps of 200 lines",
        "work",
        Shape(),
        (
            FarmFigure(
                "rate", "builds", "/s", _on(_more(40, "upstream"), _more(12, "upstream"), _more(0.8, "postgresql"))
            ),
            FarmFigure(
                "cpu_ms",
                "CPU a build",
                "ms",
                _on(_less(1 / 50, "upstream"), _less(1 / 15, "upstream"), _less(1.2, "postgresql")),
            ),
            FarmFigure(
                "single_ms",
                "one build, idle farm",
                "ms",
                _on(_less(1 / 20, "upstream"), _less(1 / 8, "upstream"), None),
            ),
            FarmFigure("transactions", "its transactions", "", _everywhere(_less(20))),
            FarmFigure("p95_ms", "list of builds meanwhile, p95", "ms", _on(_less(15), _less(20), _less(20))),
        ),
        upstream=True,
    ),
    FarmItem(
        "lines",
        "4 agents that print without pause",
        "work",
        Shape(agents=4, builders=4, steps=1, lines=250_000, builds=8),
        (
            FarmFigure("lines", "lines", "/s", _on(_more(250_000), _more(200_000), _more(150_000))),
            FarmFigure("cpu_us_line", "CPU a line", "µs", _on(_less(1.3), None, None)),
        ),
    ),
    FarmItem(
        "agents",
        "1,000 agents at once, 50 builders",
        "arrive",
        Shape(agents=1_000, builders=50),
        (
            FarmFigure("service_s", "all in service", "s", _everywhere(_less(10))),
            FarmFigure("service_cpu_s", "CPU", "s", _everywhere(_less(5))),
            FarmFigure("memory_mb", "memory", "MB", _everywhere(_less(200))),
            FarmFigure("agent_kb", "memory of an idle agent", "kB", _everywhere(_less(60))),
        ),
    ),
    FarmItem(
        "small",
        "300 agents, 100 builders, one small step",
        "work",
        Shape(agents=300, builders=100, steps=1, lines=1, builds=1_000),
        (
            FarmFigure("rate", "builds", "/s", _on(_more(120), _more(60), _more(60))),
            FarmFigure("cpu_ms", "CPU a build", "ms", _on(_less(7), None, None)),
        ),
    ),
    FarmItem(
        "queue",
        "4 agents, 1,000 builders, 20,000 requests wait",
        "drain",
        Shape(agents=4, builders=1_000, steps=1, lines=1, builds=200, waiting=20_000),
        (
            FarmFigure("next_ms", "from a free agent to its next build", "ms", _on(_less(30), _less(50), _less(50))),
            FarmFigure("next_ratio", "the same, against few waiting", "x", _everywhere(_less(1.5))),
        ),
    ),
    FarmItem(
        "masters_1",
        "one master",
        "share",
        Shape(),
        (FarmFigure("cpu_ms", "CPU a build", "ms"),),
        backends=_SHARED,
    ),
    FarmItem(
        "masters_2",
        "two masters",
        "share",
        Shape(masters=2),
        (FarmFigure("cpu_ms", "CPU of all masters a build", "ms", _on(None, _less(1.15, "one"), _less(1.15, "one"))),),
        backends=_SHARED,
    ),
    FarmItem(
        "masters_4",
        "four masters",
        "share",
        Shape(masters=4),
        (FarmFigure("cpu_ms", "CPU of all masters a build", "ms", _on(None, _less(1.15, "one"), _less(1.15, "one"))),),
        backends=_SHARED,
    ),
    FarmItem(
        "network",
        "the same with a network of 20 ms",
        "single",
        Shape(delayed=True),
        (FarmFigure("trips", "round trips a step", "", _everywhere(_less(5))),),
    ),
)


def chosen(only: str) -> list[FarmItem]:
    """The items whose name begins with one of some prefixes, separated by commas; all for the empty text.

    Raises ValueError for a prefix that no item has.
    """
    prefixes = [prefix for prefix in only.split(",") if prefix]
    for prefix in prefixes:
        if not any(item.name.startswith(prefix) for item in FARM_ITEMS):
            raise ValueError(f"no item begins with {prefix!r}; there are {', '.join(item.name for item in FARM_ITEMS)}")
    return [item for item in FARM_ITEMS if not prefixes or item.name.startswith(tuple(prefixes))]
