"""Schedulers that build changes: all together (`SingleBranchScheduler`), or by branch (`AnyBranchScheduler`)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

from twisted.logger import Logger

from buildbot.changes.changes import Change
from buildbot.changes.filter import ChangeFilter, NotABranch
from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.schedulers.dependent import Dependent
from buildbot.schedulers.feed import ChangeScheduler
from buildbot.schedulers.scheduler import REASON, reason_argument
from buildbot.util.background import in_background

_log = Logger()


class _BasicScheduler(ChangeScheduler):
    """Builds every important change, or, with a tree stable timer, all that came until things calmed down.

    With a timer the changes of one *line* are built together: `line` says what stands for one.
    """

    builderNames: Any = argument((), checks.list_of(checks.text), renderable=True, doc="see `Scheduler`")
    treeStableTimer = argument(
        None,
        checks.optional(checks.number()),
        doc="""seconds without a change before what came is built, all together. None or 0: each important change is
        built at once, alone""",
    )
    reason: Any = reason_argument()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.treeStableTimer = self.treeStableTimer or None
        self.reason = self.fill_in(self.reason or REASON)
        self.__timers: dict[Hashable, Any] = {}
        self.__lines: dict[int, Hashable] = {}  # of the changes that wait

    def line(self, change: Change) -> Hashable:
        """The key that a change shares with the changes that are built together with it."""
        return None

    async def start_scheduling(self) -> None:
        """Start the timers of the changes that wait since before, then follow the changes."""
        async with self.exclusive():
            await self.forget_unwanted()
            waiting = await self.waiting_changes()
            changes = await self.read_changes(list(waiting))
            self.__lines = {change.number: self.line(change) for change in changes}
        self.__start_timers(waiting)
        self.follow_changes()

    async def stop_scheduling(self) -> None:
        """Stop the timers; waiting changes stay in the database."""
        for timer in self.__timers.values():
            timer.cancel()
        self.__timers.clear()
        await self.stop_following()

    def switched_on(self) -> None:
        """Let the changes that wait since before it was switched off wait once more for their timer."""
        in_background(self.__restart_timers(), f"{self!r}")

    async def __restart_timers(self) -> None:
        async with self.exclusive():
            self.__start_timers(await self.waiting_changes())

    def __start_timers(self, waiting: dict[int, bool]) -> None:
        for line in {self.__lines[each] for each, important in waiting.items() if important and each in self.__lines}:
            self.__restart(line)

    async def take_change(self, change: Change, important: bool) -> None:
        """Build it, or let it wait until nothing has come for a while."""
        if self.treeStableTimer is None:
            # each change is built alone, so there is nothing that an unimportant one could go along with
            if important:
                await self.build_changes([change.number], self.reason)
            return
        line = self.line(change)
        self.__lines[change.number] = line
        await self.classify(change, important)
        if important or line in self.__timers:
            self.__restart(line)

    def __restart(self, line: Hashable) -> None:
        timer = self.__timers.get(line)
        if timer is not None:
            timer.reset(self.treeStableTimer or 0)
        else:
            self.__timers[line] = self.master.reactor.callLater(self.treeStableTimer or 0, self.__stable, line)

    def __stable(self, line: Hashable) -> None:
        del self.__timers[line]
        if self.enabled:
            in_background(self.__build_line(line), f"{self!r}")

    async def __build_line(self, line: Hashable) -> None:
        try:
            async with self.exclusive():
                if line in self.__timers or not self.working:
                    return  # a change came, or the scheduler stops
                waiting = await self.waiting_changes()
                chosen = [each for each in waiting if self.__lines.get(each) == line]
                if any(waiting[each] for each in chosen):
                    await self.build_changes(chosen, self.reason)
                    for each in chosen:
                        del self.__lines[each]
        except Exception:
            _log.failure("{part!r}: a build could not be triggered and is tried again", part=self)
            if self.working and line not in self.__timers:
                self.__timers[line] = self.master.reactor.callLater(self.retry_step_s, self.__stable, line)


class SingleBranchScheduler(_BasicScheduler):
    """Builds the changes that pass its filter, usually those of one branch."""

    positional: ClassVar[tuple[str, ...]] = ("name",)
    branch = argument(NotABranch, doc="the branch whose changes it looks at; None is the default branch")
    branches = argument(NotABranch, doc="the same, a list")
    categories = argument(None, doc="a list of the categories whose changes it looks at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        called = f"{type(self).__name__} {self.name!r}"
        if self.branch is not NotABranch and self.branches is not NotABranch:
            error(f"{called}: give either branch or branches, not both")
        chosen = self.branch if self.branch is not NotABranch else self.branches
        if chosen is not NotABranch or self.categories is not None:
            if self.change_filter is not None:
                error(f"{called}: with a change_filter there can be no branch, branches or categories")
            else:
                self.change_filter = ChangeFilter(branch=chosen, category=self.categories)


class AnyBranchScheduler(SingleBranchScheduler):
    """Like `SingleBranchScheduler`, but each branch of each repository has its own timer and builds its own changes."""

    def line(self, change: Change) -> Hashable:
        """Branch, repository, project and codebase."""
        return (change.codebase, change.project, change.repository, change.branch)


Scheduler = SingleBranchScheduler

__all__ = ["AnyBranchScheduler", "Dependent", "Scheduler", "SingleBranchScheduler"]
