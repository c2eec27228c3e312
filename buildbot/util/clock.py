"""Times: aware UTC datetimes outside, integer Unix seconds in the database and the Data API.

There are two clocks. The *wall clock* says what time it is; it may be set, forth and back. The *monotonic clock* only
measures how long something takes. Timers go by the second, what is stored comes from the first.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def now() -> int:
    """Seconds since the epoch, by this machine."""
    return int(time.time())


def use_monotonic_time(reactor: Any) -> None:
    """Let a reactor's timers go by the monotonic clock.

    Twisted's go by the wall clock: set back by an hour, it makes them all wait for an hour.

    Args:
        reactor: one that nobody has used yet.

    Raises:
        RuntimeError: timers run already, by the other clock.
    """
    if reactor.getDelayedCalls() and reactor.seconds is not time.monotonic:
        raise RuntimeError("the reactor's clock cannot be changed: timers run by it already")
    reactor.seconds = time.monotonic


def to_datetime(seconds: int | None) -> dt.datetime | None:
    """An aware UTC datetime, or None for None."""
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)


def to_seconds(moment: dt.datetime, what: str) -> int:
    """Whole seconds since the epoch of an aware datetime; ``what`` names the argument in errors.

    Raises:
        TypeError: not a datetime.
        ValueError: a naive datetime, which names no moment.
    """
    if not isinstance(moment, dt.datetime):
        raise TypeError(f"{what} must be a datetime, not {type(moment).__name__}")
    if moment.tzinfo is None:
        raise ValueError(f"{what} must be an aware datetime: {moment!r} has no time zone")
    return int(moment.timestamp() // 1)
