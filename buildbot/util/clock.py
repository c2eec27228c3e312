"""Times: aware UTC datetimes outside, integer Unix seconds in the database and the Data API.

There are two clocks. The *wall clock* tells the time; it may be set forward and back. The *monotonic clock* only
measures durations. Stored times are from the wall clock; timers use the monotonic clock.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def now() -> int:
    """Seconds since the epoch, by this machine's wall clock."""
    return int(time.time())


def use_monotonic_time(reactor: Any) -> None:
    """Let a reactor's timers use the monotonic clock.

    By default they use the wall clock: when that is set back by an hour, all timers wait for an hour.

    Args:
        reactor: a reactor without timers yet.

    Raises:
        RuntimeError: it has timers already, with the other clock.
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
