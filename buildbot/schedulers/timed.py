"""Schedulers that build at certain times: every so often (`Periodic`), or as a calendar says (`Nightly`).

When one was last due is noted with its state (see `feed`), in one write with the buildset it is about to
make: a crash neither doubles a build nor forgets one. A time that passed while the master was down is made up
for once, at the start.

The clock on the wall may be set at any time. Waiting is done by the reactor's timers, in short stretches, and the
clock is read whenever one ends: a time that it was set over is due at once. A last time that lies in the future is
taken back if it cannot be true (see `_Timed.believable`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from sqlalchemy.engine import Connection
from twisted.logger import Logger

from buildbot.changes.changes import Change
from buildbot.changes.filter import NotABranch
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.schedulers.calendar import Calendar
from buildbot.schedulers.feed import ChangeScheduler
from buildbot.schedulers.scheduler import REASON, reason_argument
from buildbot.schedulers.triggerable import Ids, Triggered, TriggeredBuildset
from buildbot.util.background import in_background
from buildbot.util.deferreds import resolved

_log = Logger()
#: the state of `NightlyTriggerable` that says what to make; None: nothing
_LAST_TRIGGER = "lastTrigger"
#: the fields of a calendar, and the arguments that say when a build needs no change
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "minute": "force_at_minute",
        "hour": "force_at_hour",
        "dayOfMonth": "force_at_day_of_month",
        "month": "force_at_month",
        "dayOfWeek": "force_at_day_of_week",
    }
)
#: arguments that have no effect where changes have none
_ABOUT_CHANGES = (
    "branch", "onlyIfChanged", "change_filter", "fileIsImportant", "onlyImportant", "createAbsoluteSourceStamps",
    *_FIELDS.values(),
)  # fmt: skip
#: a clock may be set while a timer runs, which goes by another one: the time is looked at this often
_LONGEST_TIMER_S = 30.0


class _Timed(ChangeScheduler):
    """Builds when it is due; `next_time` says when that is."""

    branch = argument(
        NotABranch,
        checks.optional(checks.text),
        doc="what to build; None is the default branch. With `onlyIfChanged` only its changes count",
    )
    onlyIfChanged: Any = argument(
        False,
        checks.flag,
        doc="""skip a time if no important change came since the last. While no change of any kind has come at all, the
        first build needs none""",
    )
    reason: Any = reason_argument()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reason = self.fill_in(self.reason or REASON)
        self.__timer: Any = None

    def stated_codebases(self) -> dict[str, Mapping[str, Any]]:
        """As ``Scheduler.stated_codebases``; ``branch`` is that of all codebases that have none of their own."""
        stated = super().stated_codebases()
        if self.branch is NotABranch:
            return stated
        return {name: {"branch": self.branch, **settings} for name, settings in stated.items()}

    def is_wanted(self, change: Change) -> bool:
        """Whether its filter lets the change pass, and it is of the branch that is built.

        The branch says what is built, so another one's code must not be built under that name.
        """
        wanted = self.branch
        if wanted is not NotABranch or self.change_filter is None:
            wanted = self.codebases.get(change.codebase, {}).get("branch") or wanted
        return super().is_wanted(change) and (wanted is NotABranch or change.branch == wanted)

    @abstractmethod
    def next_time(self, last: float | None, now: float) -> float:
        """When it is due, in Unix seconds, later than ``last``.

        Args:
            last: when it last was; None if never.
            now: the present time.
        """

    @abstractmethod
    def believable(self, last: float, now: float) -> float:
        """When it last was due, if ``last`` lies in the future: the clock was set back, or had been wrong before."""

    async def start_scheduling(self) -> None:
        """Wait for the next time; look at changes meanwhile, if it matters whether there are any."""
        async with self.exclusive():
            last, now = self.feed.last, self.__now()
            if last is None:
                self.feed.last = self.first_time(now)
            elif last > now:
                self.feed.last = self.believable(last, now)
            if self.feed.last != last:
                await self.note()
            if self.looks_at_changes:
                await self.forget_unwanted()
        if self.looks_at_changes:
            self.follow_changes()
        self.__wait()

    @property
    def looks_at_changes(self) -> bool:
        """Whether it matters which changes come."""
        return bool(self.onlyIfChanged or self.createAbsoluteSourceStamps)

    def first_time(self, now: float) -> float | None:
        """When a scheduler that never ran counts as having been due last."""
        return now

    async def stop_scheduling(self) -> None:
        """Stop waiting."""
        if self.__timer is not None:
            self.__timer.cancel()
            self.__timer = None
        await self.stop_following()

    async def take_change(self, change: Change, important: bool) -> None:
        """Let it wait for the next time."""
        await self.classify(change, important)

    def __now(self) -> float:
        return self.master.wall_seconds()

    def __next_time(self, now: float) -> float:
        last = self.feed.last
        if last is not None and last > now:
            # the next build notes a better one; until then the answer stays the same
            last = self.feed.last = self.believable(last, now)
        return self.next_time(last, now)

    def __wait(self, at_least_s: float = 0.0) -> None:
        now = self.__now()
        delay_s = max(at_least_s, self.__next_time(now) - now)
        self.__timer = self.master.reactor.callLater(min(delay_s, _LONGEST_TIMER_S), self.__timer_over)

    def __timer_over(self) -> None:
        self.__timer = None
        now = self.__now()
        if self.__next_time(now) <= now:
            in_background(self.__due(), f"{self!r}")
        else:
            self.__wait()

    async def __due(self) -> None:
        failed = False
        try:
            async with self.exclusive():
                if not self.working:
                    return
                now = self.__now()
                if self.__next_time(now) <= now:
                    await self.__build(now)
        except Exception:
            _log.failure("{part!r}: a build could not be triggered and is tried again", part=self)
            failed = True
        if self.working:
            self.__wait(at_least_s=self.retry_step_s if failed else 0.0)

    async def __build(self, now: float) -> None:
        last, self.feed.last = self.feed.last, now
        if not (self.enabled and await self.build_now(last, now)):
            await self.note()

    async def build_now(self, last: float | None, now: float) -> bool:
        """Build, as the time has come; the state is written with that. False if there is nothing to build.

        Args:
            last: when it last was due; None if never.
            now: the present time.
        """
        waiting = await self.waiting_changes() if self.looks_at_changes else {}
        # not yet built under this rule: one build needs no change
        first = self.feed.only_if_changed is not True
        if self.onlyIfChanged and not first and not any(waiting.values()) and not self.is_forced(last, now):
            return False
        self.feed.only_if_changed = self.onlyIfChanged
        await self.build_changes(list(waiting), self.reason)
        return True

    def is_forced(self, last: float | None, now: float) -> bool:
        """Whether a build is due after ``last`` and until ``now`` that needs no change."""
        return False


class Periodic(_Timed):
    """Builds every ``periodicBuildTimer`` seconds, for the first time at once.

    Where there is no change_filter, a codebase that is given with a branch is only changed by changes of that branch.
    """

    positional: ClassVar[tuple[str, ...]] = ("name", "builderNames", "periodicBuildTimer")
    periodicBuildTimer = argument(REQUIRED, checks.positive, doc="seconds from one build to the next")

    def first_time(self, now: float) -> float | None:
        """Never: the first build is due at once."""
        return None

    def next_time(self, last: float | None, now: float) -> float:
        """One interval after the last; at once if it never ran."""
        return now if last is None else last + self.periodicBuildTimer

    def believable(self, last: float, now: float) -> float:
        """Now: the time of the last build is unknown, and a build is due after one interval at the latest."""
        return now


class Nightly(_Timed):
    """Builds at the times that a calendar pattern says, in the master's local time; `Calendar` says what that means
    when clocks are set.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "name",
        "builderNames",
        "minute",
        "hour",
        "dayOfMonth",
        "month",
        "dayOfWeek",
    )
    minute = argument(0, doc="a number, a collection of numbers, or a text as in crontab (`*`, `*/15`, `1-5,7`)")
    hour = argument("*", doc="the same")
    dayOfMonth = argument("*", doc="the same")
    month = argument("*", doc="the same")
    dayOfWeek = argument("*", doc="the same, where 0 is Monday")
    force_at_minute = argument(
        None,
        doc="""with `onlyIfChanged`: at these of its times it builds without changes, too. Where one `force_at_…` is
        given, the others are `*`, and the minute 0""",
    )
    force_at_hour = argument(None, doc="the same")
    force_at_day_of_month = argument(None, doc="the same")
    force_at_month = argument(None, doc="the same")
    force_at_day_of_week = argument(None, doc="the same, where 0 is Monday")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calendar = self.__calendar({name: getattr(self, name) for name in _FIELDS}) or Calendar(
            minute=0, hour=0, dayOfMonth="*", month="*", dayOfWeek="*"
        )
        self.__forced: Calendar | None = None
        forced = {name: getattr(self, argument) for name, argument in _FIELDS.items()}
        if any(value is not None for value in forced.values()):
            usual = {
                name: (0 if name == "minute" else "*") if value is None else value for name, value in forced.items()
            }
            self.__forced = self.__calendar(usual)
        missed = None if self.__forced is None else self.calendar.misses(self.__forced)
        if missed is not None:
            error(
                f"{type(self).__name__} {self.name!r}: the force_at_… times must be among its times; "
                f"{missed:%A %Y-%m-%d %H:%M} is not"
            )

    def __calendar(self, fields: Mapping[str, Any]) -> Calendar | None:
        try:
            return Calendar(**fields)
        except ValueError as problem:
            error(f"{type(self).__name__} {self.name!r}: {problem}")
            return None

    def is_forced(self, last: float | None, now: float) -> bool:
        """Whether one of the ``force_at_…`` times lies between."""
        return self.__forced is not None and self.__forced.after(now if last is None else last) <= now

    def next_time(self, last: float | None, now: float) -> float:
        """The first time that fits after the last."""
        return self.calendar.after(now if last is None else last)

    def believable(self, last: float, now: float) -> float:
        """``last`` while not more than one time lies between, which has been built and is not built again; else now."""
        following = self.calendar.after(now)
        return last if following > last or self.calendar.after(following) > last else now


class NightlyTriggerable(Triggered, Nightly):
    """Builds at the times that a calendar pattern says what a ``Trigger`` step has asked for since the last time.

    Of several steps that asked, the last one counts; if none asked, nothing is built. The step does not wait for the
    build. Changes have no effect, so the arguments about them (`onlyIfChanged`, `change_filter`, `force_at_…` and so
    on) are mistakes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in _ABOUT_CHANGES:
            value = getattr(self, name)
            if not (value is None or value is False or value is NotABranch):
                error(
                    f"{type(self).__name__} {self.name!r}: {name} has no effect, since it builds what a Trigger step "
                    "has asked for, whatever changes come; leave it out"
                )

    async def make_buildset(self, wanted: TriggeredBuildset) -> Ids:
        """Store the buildset, which is made at the next time."""
        await self.check_switched_on()
        stored = {
            "sourcestamps": [dict(stamp) for stamp in wanted.sourcestamps],
            "properties": {name: list(pair) for name, pair in self.without_own(wanted.properties).items()},
            "parent_buildid": wanted.parent_buildid,
            "parent_relationship": wanted.parent_relationship,
        }
        state = self.master.db.state
        # the state is that of the scheduler, which another master may run
        objectid = await state.getObjectId(self.name, type(self).__name__)
        await state.setState(objectid, _LAST_TRIGGER, stored)
        return None, {}

    async def build_now(self, last: float | None, now: float) -> bool:
        """Make what was asked for last."""
        state = self.master.db.state
        wanted = await state.getState(self.objectid, _LAST_TRIGGER, None)
        if wanted is None:
            return False
        note = self.noting()

        def thd_alongside(conn: Connection) -> None:
            note(conn)
            # a request that came meanwhile is for the next time
            if state.thdGetState(conn, self.objectid, _LAST_TRIGGER, None) == wanted:
                state.thdSetState(conn, self.objectid, _LAST_TRIGGER, None)

        await resolved(
            self.addBuildsetForSourceStampsWithDefaults(
                reason=self.reason,
                sourcestamps=wanted["sourcestamps"],
                properties={name: (value, source) for name, (value, source) in wanted["properties"].items()},
                parent_buildid=wanted["parent_buildid"],
                parent_relationship=wanted["parent_relationship"],
                alongside=thd_alongside,
            )
        )
        return True
