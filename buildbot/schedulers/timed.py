"""Schedulers that build at certain times: every so often (`Periodic`), or as a calendar says (`Nightly`).

When one was last due is noted with its state (see `feed`), in one write with the buildset it is about to
make: a crash neither doubles a build nor forgets one. A time that passed while the master was down is made up
for once, at the start.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cronsim import CronSim, CronSimError
from twisted.logger import Logger

from buildbot.changes.changes import Change
from buildbot.config.errors import error
from buildbot.schedulers.base import REASON
from buildbot.schedulers.feed import ChangeScheduler
from buildbot.util.background import in_background

_log = Logger()
_LONGEST_TIMER_S = 3600.0


class _Timed(ChangeScheduler):
    """Builds when it is due; `next_time` says when that is."""

    def __init__(
        self,
        name: str,
        builderNames: Sequence[str],
        *,
        branch: str | None = None,
        onlyIfChanged: bool = False,
        reason: str = REASON,
        codebases: Any = None,
        **further: Any,
    ) -> None:
        super().__init__(
            name, builderNames, codebases={"": {"branch": branch}} if codebases is None else codebases, **further
        )
        if branch is not None and codebases is not None:
            error(f"scheduler {name!r}: with codebases the branch is given there")
        self.onlyIfChanged = onlyIfChanged
        self.reason = self.fill_in(reason)
        self._timer: Any = None

    @abstractmethod
    def next_time(self, last: float | None, now: float) -> float:
        """When it is due, in Unix seconds.

        Args:
            last: when it last was; None if never.
            now: the present time.
        """

    async def start_scheduling(self) -> None:
        """Wait for the next time; look at changes meanwhile, if it matters whether there are any."""
        async with self.exclusive():
            if self.feed.last is None:
                self.feed.last = self.first_time(self._now())
                await self.note()
        if self.onlyIfChanged:
            self.follow_changes()
        self._wait()

    def first_time(self, now: float) -> float | None:
        """When a scheduler that never ran counts as having been due last."""
        return now

    async def stop_scheduling(self) -> None:
        """Stop waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.stop_following()

    async def take_change(self, change: Change, important: bool) -> None:
        """Let it wait for the next time."""
        await self.classify(change, important)

    def _now(self) -> float:
        return float(self.master.reactor.seconds())

    def _wait(self, at_least_s: float = 0.0) -> None:
        delay_s = self.next_time(self.feed.last, self._now()) - self._now()
        # a clock may be set, and a computer may sleep: look again now and then
        self._timer = self.master.reactor.callLater(min(max(at_least_s, delay_s), _LONGEST_TIMER_S), self._timer_over)

    def _timer_over(self) -> None:
        self._timer = None
        if self.next_time(self.feed.last, self._now()) <= self._now():
            in_background(self._due(), f"{self!r}")
        else:
            self._wait()

    async def _due(self) -> None:
        failed = False
        try:
            async with self.exclusive():
                if not self.working:
                    return
                now = self._now()
                if self.next_time(self.feed.last, now) <= now:
                    await self._build(now)
        except Exception:
            _log.failure("{part!r}: a build could not be triggered and is tried again", part=self)
            failed = True
        if self.working:
            self._wait(at_least_s=self.retry_step_s if failed else 0.0)

    async def _build(self, now: float) -> None:
        self.feed.last = now
        waiting = await self.waiting_changes() if self.onlyIfChanged else {}
        if self.enabled and (any(waiting.values()) or not self.onlyIfChanged):
            await self.build_changes(list(waiting), self.reason)
        else:
            await self.note()


class Periodic(_Timed):
    """Builds every ``periodicBuildTimer`` seconds, for the first time at once.

    Args:
        name, builderNames: see `BaseScheduler`.
        periodicBuildTimer: seconds from one build to the next.
        branch: what to build; None is the default branch.
        onlyIfChanged: skip a time if no important change came since the last.
        reason, change_filter, fileIsImportant, onlyImportant, properties, codebases, priority: see
            `SingleBranchScheduler`.
    """

    def __init__(self, name: str, builderNames: Sequence[str], periodicBuildTimer: float, **further: Any) -> None:
        super().__init__(name, builderNames, **further)
        if not isinstance(periodicBuildTimer, int | float) or not periodicBuildTimer > 0:
            error(f"scheduler {name!r}: periodicBuildTimer must be a number of seconds above 0")
            periodicBuildTimer = 3600
        self.periodicBuildTimer = periodicBuildTimer

    def first_time(self, now: float) -> float | None:
        """Never: the first build is due at once."""
        return None

    def next_time(self, last: float | None, now: float) -> float:
        """One interval after the last; at once if it never ran."""
        return now if last is None else last + self.periodicBuildTimer


class Nightly(_Timed):
    """Builds at the times that a calendar pattern says, in the master's local time.

    Args:
        name, builderNames: see `BaseScheduler`.
        minute, hour, dayOfMonth, month: a number, a list of numbers, or a text as in crontab (``*``,
            ``*/15``, ``1-5,7``).
        dayOfWeek: the same, where 0 is Monday.
        branch, onlyIfChanged, **further: see `Periodic`.
    """

    def __init__(
        self,
        name: str,
        builderNames: Sequence[str],
        minute: int | str | Sequence[int] = 0,
        hour: int | str | Sequence[int] = "*",
        dayOfMonth: int | str | Sequence[int] = "*",
        month: int | str | Sequence[int] = "*",
        dayOfWeek: int | str | Sequence[int] = "*",
        **further: Any,
    ) -> None:
        super().__init__(name, builderNames, **further)
        # crontab counts from Sunday, and takes 7 for Sunday too; the step of */2 is no day
        days = re.sub(r"(?<![/\d])\d+", lambda day: str(int(day[0]) + 1), _cron_field(dayOfWeek))
        self.pattern = " ".join([*map(_cron_field, (minute, hour, dayOfMonth, month)), days])
        try:
            CronSim(self.pattern, datetime(2000, 1, 1))
        except CronSimError as problem:
            error(f"scheduler {name!r}: {problem} ({self.pattern!r})")
            self.pattern = "0 0 * * *"

    def next_time(self, last: float | None, now: float) -> float:
        """The first time that fits after the last."""
        return next(CronSim(self.pattern, datetime.fromtimestamp(now if last is None else last))).timestamp()


def _cron_field(value: int | str | Sequence[int]) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
