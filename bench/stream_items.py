"""What is measured of the event stream, with the goals (the requirement's table, Speed)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: listeners of one queue; clients of one list; subscribers of the memory's row, and those of them that never read
CONSUMERS = 1_000
CLIENTS = 500
SUBSCRIBERS, SLEEPERS = 1_000, 100
#: updates of a burst
BURST = 50
#: updates per second, and for how many seconds, while latency is measured
RATE, RATE_S = 500, 4.0
#: events that a client that comes back has missed
MISSED = 100_000
#: events that every subscriber is sent while memory is measured, and the size of each
FLOOD, FLOOD_BYTES = 600, 8_000


@dataclass(frozen=True)
class Goal:
    """A figure is to be ``sign`` ``value``; with ``against``, its ratio to theirs is."""

    sign: Literal["≥", "≤"]
    value: float
    against: str = ""

    def met(self, figure: float) -> bool:
        """Whether a figure reaches it."""
        return figure >= self.value if self.sign == "≥" else figure <= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:,g}"


@dataclass(frozen=True)
class StreamItem:
    """One figure.

    Attributes:
        name: what ``--only`` and the JSON file call it.
        title, unit: what the table calls it.
        goals: what it is to reach.
    """

    name: str
    title: str
    unit: str
    goals: tuple[Goal, ...] = ()

    def goals_on(self, backend: str) -> tuple[Goal, ...]:
        """What it is to reach on a backend: only PostgreSQL wakes the other masters, all others look."""
        if self.name == "latency_other":
            return (Goal("≤", 250 if backend == "postgresql" else 1_000),)
        return self.goals


STREAM_ITEMS = (
    StreamItem("queue_match", f"queue, to {CONSUMERS:,} that match", "events/s", (Goal("≥", 3, "upstream"),)),
    StreamItem("queue_other", f"queue, to {CONSUMERS:,} that do not", "events/s", (Goal("≥", 50, "upstream"),)),
    StreamItem("produce_match", f"produce with the log, {CONSUMERS:,} match", "events/s", (Goal("≥", 3, "upstream"),)),
    StreamItem("produce_other", f"produce with the log, {CONSUMERS:,} do not", "events/s"),
    StreamItem(
        "fanout", f"WebSocket, last of {CLIENTS} has it", "ms", (Goal("≤", 2, "null"), Goal("≤", 0.5, "upstream"))
    ),
    StreamItem("burst", f"WebSocket, {CLIENTS} clients, a burst", "deliveries/s", (Goal("≥", 50_000),)),
    StreamItem("latency_same", f"{RATE} updates/s, p99, same master", "ms", (Goal("≤", 50),)),
    StreamItem("latency_other", f"{RATE} updates/s, p99, another master", "ms"),
    StreamItem("resume_rate", f"resume from {MISSED:,} events ago", "events/s", (Goal("≥", 20_000),)),
    StreamItem("resume_memory", "memory that this takes", "MB", (Goal("≤", 80),)),
    StreamItem("subscribers", f"memory, {SUBSCRIBERS:,} subscribers, {SLEEPERS} never read", "MB", (Goal("≤", 200),)),
)

BY_NAME = {item.name: item for item in STREAM_ITEMS}


def chosen(only: str) -> list[StreamItem]:
    """The items whose name begins with one of some prefixes, separated by commas; all for the empty text.

    Raises ValueError for a prefix that no item has.
    """
    prefixes = [prefix for prefix in only.split(",") if prefix]
    for prefix in prefixes:
        if not any(item.name.startswith(prefix) for item in STREAM_ITEMS):
            raise ValueError(f"no item begins with {prefix!r}; there are {', '.join(BY_NAME)}")
    return [item for item in STREAM_ITEMS if not prefixes or item.name.startswith(tuple(prefixes))]
