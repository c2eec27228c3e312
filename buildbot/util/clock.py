"""Times: aware UTC datetimes outside, integer Unix seconds in the database and the Data API."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from twisted.internet.task import Clock

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def now() -> int:
    """Seconds since the epoch, by this machine."""
    return int(time.time())


def wall_seconds(reactor: Any) -> float:
    """Unix seconds, with fractions, by the clock on the wall, which people and programs may set at any time.

    A reactor's own time is for intervals, and need not be this. Only where it is moved by hand (Twisted's ``Clock``)
    there is no other.
    """
    return float(reactor.seconds()) if isinstance(reactor, Clock) else time.time()


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
