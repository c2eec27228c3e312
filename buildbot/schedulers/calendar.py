"""When a calendar pattern is due, in the local time of this process, over the days on which clocks are set.

A pattern says what a clock on the wall shows. Twice a year the wall clock jumps in most zones:

- **A time that is repeated** (clocks go back) counts the first time. A pattern of every hour goes on through the
  repeated hour: a job of every five minutes is due every five minutes of real time.
- **A time that is left out** (clocks go forward) is due as soon as the gap is over, once for all times in the gap.
  A pattern of every hour leaves it out, as its next time is near.
- **No two times are closer** than the pattern says: where half an hour is repeated (Lord Howe Island), a pattern of
  "every hour at 30" is not due twice within half an hour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from cronsim import CronSim, CronSimError

#: a field of a pattern: a number, a crontab text, or a collection of numbers
Field = int | str | Iterable[int | str]

#: name, first and last number of each field, in crontab's order
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("dayOfMonth", 1, 31), ("month", 1, 12), ("dayOfWeek", 0, 6))
#: how far clocks are set at most, with room
_JUMP = timedelta(hours=3)
_SOME_DAY = datetime(2000, 1, 1)
#: how many times of two patterns are compared
_COMPARED = 400


class Calendar:
    """The times that a pattern names.

    Args:
        minute, hour, dayOfMonth, month: a number, a collection of numbers, or a text as in crontab (``*``, ``*/15``,
            ``1-5,7``, ``jan``; the last day of a month is ``L``).
        dayOfWeek: the same, where 0 is Monday; ``1#2`` is the second Monday, ``L1`` the last one.

    Raises:
        ValueError: a field is none of these, with its name; or no day is like that.
    """

    def __init__(self, *, minute: Field, hour: Field, dayOfMonth: Field, month: Field, dayOfWeek: Field) -> None:
        given = (minute, hour, dayOfMonth, month, dayOfWeek)
        texts = [_text(value, *field) for value, field in zip(given, _FIELDS, strict=True)]
        self.pattern = " ".join(texts)
        try:
            parsed = CronSim(self.pattern, _SOME_DAY)
            next(parsed)
        except (CronSimError, StopIteration):
            raise ValueError(f"no day is like dayOfMonth={dayOfMonth!r}, month={month!r}") from None
        minutes = sorted(int(each) for each in parsed.minutes)
        following = [*minutes[1:], minutes[0] + 60]
        self._every_hour = len(parsed.hours) == 24
        #: the shortest time between two of an hourly pattern
        self._step_s = 60 * min(after - each for each, after in zip(minutes, following, strict=True))
        self._minutes = frozenset(minutes)

    def after(self, moment: float) -> float:
        """The first time after a moment; both in Unix seconds."""
        shown = datetime.fromtimestamp(moment)
        # a clock that is set back shows earlier times later, so begin before what it shows
        found: float | None = None
        for wall in CronSim(self.pattern, (shown - _JUMP).replace(fold=0)):
            for due in self._moments(wall):
                if due > moment and (found is None or due < found):
                    found = due
            if found is not None and wall > shown + _JUMP:
                return found
        raise ValueError(f"{self.pattern!r} is never due after {shown}")  # the year 9999

    def misses(self, other: Calendar) -> datetime | None:
        """The first of some hundred times of another pattern, as a clock shows it, that is none of this one."""
        for wall in islice(CronSim(other.pattern, _SOME_DAY), _COMPARED):
            if next(CronSim(self.pattern, wall - timedelta(minutes=1))) != wall:
                return wall
        return None

    def _moments(self, wall: datetime) -> Iterator[float]:
        """The moments when a clock shows a time of the pattern."""
        first, second = wall.timestamp(), wall.replace(fold=1).timestamp()
        if not self._every_hour:
            # no clock shows a time in a gap: it is between the two offsets
            yield _jump(second, first) if second < first else first
        elif second >= first:
            yield from (each for each in sorted({first, second}) if not self._is_near(each))

    def _is_near(self, due: float) -> bool:
        """Whether an hourly time follows too closely on one that was due before the clock was set."""
        if _offset(due - self._step_s) == _offset(due):
            return False
        earlier = (due - each for each in range(60, self._step_s, 60))
        return any(
            _offset(each) != _offset(due) and datetime.fromtimestamp(each).minute in self._minutes for each in earlier
        )


def _jump(before: float, after: float) -> float:
    """The second from which on the clock is set forward, somewhere between the two."""
    offset = _offset(before)
    low, high = int(before), int(after)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(middle) == offset else (low, middle)
    return float(high)


def _offset(moment: float) -> timedelta:
    return datetime.fromtimestamp(moment) - datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)


def _text(value: Field, name: str, low: int, high: int) -> str:
    """A field in crontab's words."""
    text = _listed(value, name, low, high)
    if name == "dayOfWeek":
        text = ",".join(map(_week_day, text.split(",")))
    stars = ["*"] * len(_FIELDS)
    number = [each[0] for each in _FIELDS].index(name)
    try:
        parsed = CronSim(" ".join([*stars[:number], text, *stars[number + 1 :]]), _SOME_DAY)
    except CronSimError:
        raise _mistake(value, name, low, high) from None
    # every day written out must not restrict the other field of days, as a star does not
    every = {"dayOfMonth": set(range(1, 32)) <= set(parsed.days), "dayOfWeek": _is_every_day(parsed.weekdays)}
    return "*" if every.get(name) else text


def _listed(value: Field, name: str, low: int, high: int) -> str:
    if isinstance(value, str):
        texts = [each.strip() for each in value.split(",")]
    else:
        several = isinstance(value, Iterable) and not isinstance(value, bytes)
        each = list(value) if isinstance(value, Iterable) and several else [value]
        texts = [str(one).strip() for one in each if isinstance(one, int | str) and not isinstance(one, bool)]
        texts = texts if len(texts) == len(each) else []
    if not texts or any(not one or " " in one for one in texts):
        raise _mistake(value, name, low, high)
    return ",".join(texts)


def _mistake(value: object, name: str, low: int, high: int) -> ValueError:
    return ValueError(
        f"{name} must be a number from {low} to {high}, a collection of them, or a text as in crontab, not {value!r}"
    )


def _week_day(term: str) -> str:
    """A term of ``dayOfWeek`` for crontab, which counts from Sunday and takes 7 for Sunday too."""
    last = re.fullmatch(r"[lL](\d)", term)
    if last:
        return f"{last[1]}L"
    if "#" in term:
        return term  # such numbers are crontab's
    days, slash, step = term.partition("/")  # the step of */2 is no day
    return re.sub(r"\d+", lambda day: str(int(day[0]) + 1), days) + slash + step


def _is_every_day(week_days: Iterable[object]) -> bool:
    plain = {each % 7 for each in week_days if isinstance(each, int)}
    return len(plain) == 7
