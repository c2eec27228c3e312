"""Calendars on the days when clocks are set, in many zones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildbot.schedulers.calendar import Calendar
from buildbot.schedulers.timed import Nightly

ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "America/Santiago", "Asia/Beirut",
    "Africa/Cairo", "Pacific/Chatham", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "UTC",
)  # fmt: skip

SetZone = Callable[[str], None]


@pytest.fixture(name="zone")
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetZone]:
    def set_(name: str) -> None:
        ZoneInfo(name)  # a zone that this machine does not know would be read as UTC
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_
    monkeypatch.undo()
    time.tzset()


def calendar(**fields: Any) -> Calendar:
    every: dict[str, Any] = {"minute": 0, "hour": "*", "dayOfMonth": "*", "month": "*", "dayOfWeek": "*"}
    return Calendar(**every | fields)


def utc(text: str) -> float:
    return datetime.fromisoformat(text + "+00:00").timestamp()


def times(pattern: Calendar, after: str, until: str) -> list[float]:
    found = []
    moment = pattern.after(utc(after))
    while moment <= utc(until):
        found.append(moment)
        moment = pattern.after(moment)
    return found


MINUTES = st.one_of(
    st.sampled_from(["*", "*/5", "*/7", "*/20", "0,30", "59"]),
    st.integers(0, 59),
    st.sets(st.integers(0, 59), min_size=1, max_size=5),
)
HOURS = st.one_of(st.just("*"), st.integers(0, 23), st.sets(st.integers(0, 23), min_size=1, max_size=5))


@pytest.mark.parametrize("name", ZONES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    minute=MINUTES,
    hour=HOURS,
    year=st.integers(2000, 2037),
    hours=st.integers(0, 366 * 24),
    seconds=st.floats(0, 3600),
    data=st.data(),
)
def test_the_next_time_is_later_and_the_least_that_the_wall_clock_shows(
    zone: SetZone, name: str, minute: Any, hour: Any, year: int, hours: int, seconds: float, data: st.DataObject
) -> None:
    """For every last time and every zone the next one is later; hourly ones are never closer than they say."""
    zone(name)
    # near the days on which some zone sets its clocks, as often as anywhere
    start = utc(f"{year}-01-01T00:00:00") + hours * 3600
    changes = [each for each in _changes(start) if each] or [start]
    last = data.draw(st.sampled_from([start, *changes])) + data.draw(st.integers(-3, 3)) * 3600 + seconds
    pattern = calendar(minute=minute, hour=hour)
    minutes = sorted(pattern._minutes)
    step = 60 * min(b - a for a, b in zip(minutes, [*minutes[1:], minutes[0] + 60], strict=True))
    before = last
    for count in range(4):
        due = pattern.after(before)
        assert due > before
        if hour == "*" and count:
            assert due - before >= step
            assert datetime.fromtimestamp(due).minute in minutes
        assert pattern.after(due - 0.5) == due, "whatever the last time was, the times are the same"
        before = due


def _changes(start: float) -> Iterator[float]:
    """The moments within a year at which the local clock is set."""

    def offset(moment: float) -> float:
        return datetime.fromtimestamp(moment).astimezone().utcoffset().total_seconds()  # type: ignore[union-attr]

    for day in range(366):
        low, high = start + day * 86400, start + (day + 1) * 86400
        if offset(low) != offset(high):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
            yield high


@pytest.mark.parametrize(
    ("name", "night", "second"),
    [("Europe/Berlin", "2026-10-25", "01:10"), ("America/New_York", "2026-11-01", "06:10")],
)
def test_a_repeated_hour(zone: SetZone, name: str, night: str, second: str) -> None:
    """Patterns of every hour go on in it, at the distance that they say; a fixed hour counts once."""
    zone(name)
    now = utc(f"{night}T{second}:00")
    every_five = calendar(minute="*/5")
    assert [every_five.after(now) - now, every_five.after(now + 300) - now] == [300, 600]
    assert calendar(minute=30).after(now) - now == 1200
    hour = datetime.fromtimestamp(now).hour
    daily = calendar(hour=hour, minute=30)
    first = now - 2400
    assert daily.after(now - 86400) == first
    assert daily.after(first) - first == 86400 + 3600, "the next local day, which is an hour longer away"
    assert daily.after(now) - first == 86400 + 3600


@pytest.mark.parametrize(
    ("name", "night", "gap"), [("Europe/Berlin", "2026-03-29", "01:00"), ("America/New_York", "2026-03-08", "07:00")]
)
def test_a_left_out_hour(zone: SetZone, name: str, night: str, gap: str) -> None:
    """A time in it is due once, when it is over; patterns of every hour go on at their distance."""
    zone(name)
    over = utc(f"{night}T{gap}:00")
    assert calendar(hour=2, minute=[15, 30]).after(over - 7200) == over
    assert calendar(hour=2, minute=[15, 30]).after(over) == over + 86400 - 3600 + 900
    assert calendar(minute="*/5").after(over - 300) == over
    assert calendar(minute=30).after(over - 1800) == over + 1800


def test_half_an_hour_is_repeated(zone: SetZone) -> None:
    """On Lord Howe Island "every hour at 45" is not due twice within half an hour, "every half hour" goes on."""
    zone("Australia/Lord_Howe")
    # 02:00 becomes 01:30 at 15:00 UTC
    at_45 = times(calendar(minute=45), "2026-04-04T14:00:00", "2026-04-04T16:30:00")
    assert at_45 == [utc("2026-04-04T14:45:00"), utc("2026-04-04T16:15:00")]
    halves = times(calendar(minute=[0, 30]), "2026-04-04T14:00:00", "2026-04-04T16:00:00")
    assert [b - a for a, b in pairwise(halves)] == [1800] * 3
    # 02:00 becomes 02:30 at 15:30 UTC
    at_59 = times(calendar(minute=[30, 59]), "2026-10-03T15:00:00", "2026-10-03T16:00:00")
    assert [b - a for a, b in pairwise(at_59)] == [1800]


def test_nightly_asks_the_calendar(zone: SetZone) -> None:
    """Made in the repeated hour, it is due at the next time of that hour and not before."""
    zone("Europe/Berlin")
    now = utc("2026-10-25T01:10:00")
    scheduler = Nightly("n", ["b"], branch="main", minute="*/5")
    assert scheduler.next_time(None, now) == scheduler.next_time(now, now) == utc("2026-10-25T01:15:00")
