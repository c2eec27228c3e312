"""Schedulers that look at changes: each change once, in order, across restarts.

**State.** One JSON value in the database (``master.db.state``, object *name of the scheduler*, its class, key
``feed``)::

    {"clock": 812, "changeid": 40, "enabled": true, "last": null, "only_if_changed": null, "seen": {}}

*clock* is a point in the history of the installation (see the event log): every change announced up to there
has been looked at. *changeid* is the highest id among those. *enabled* says whether the scheduler was
switched on at that point. *last* is when a timed scheduler was last due, and *only_if_changed* whether its last
build was made under that rule (null: there was no build, nor any change). *seen* has, with
``createAbsoluteSourceStamps``, the code of the last change of each codebase. The changes that were looked at and wait
for their build are in ``master.db.schedulers`` (classifications: important or not).

**At start** the scheduler subscribes to changes *since* its clock, so it gets the missed changes first and then
the new ones, without a gap. If the log no longer reaches back to its clock it reads the changes above
*changeid* page by page; the last page and its clock come from one snapshot, which is where the subscription
continues. A scheduler that has never run begins with the changes after now. That it is switched off and on
again arrives in the same stream: it takes effect between two changes, not at some moment of the scheduler's
own, and the changes between pass it by.

**Exactly once.** The effect of a change is written in one transaction with the clock that says so:
its classification, or its buildset with the requests. That transaction also makes sure that this master still
runs the scheduler (``thd_hold``): one that was taken for dead and wakes up writes nothing, and one that takes
the scheduler up again reads first the state that others have written. A buildset of changes that waited removes their
classifications in the same transaction. So there is no moment at which a crash could lose or double anything.
A change that nothing is done with (the filter rejects it, the scheduler is switched off) is noted only now
and then, as it may be looked at again without harm.

**An error** (the database is away) leaves open whether the transaction took effect. Therefore the state is read again
before the next change, and a change that has been taken is not taken again; the others are tried until they succeed, in
their order.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from buildbot.changes.changes import Change
from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.db.exceptions import NotClaimedError
from buildbot.schedulers.following import EventFollower
from buildbot.schedulers.scheduler import PAGE, Scheduler
from buildbot.util.deferreds import resolved

_log = Logger()
_UNNOTED = 100


@dataclass
class _Feed:
    """The state in the database (see the module's text)."""

    clock: int
    changeid: int
    enabled: bool
    last: float | None = None
    only_if_changed: bool | None = None
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)


def _filter(value: Any) -> Any:
    if value is not None and not hasattr(value, "filter_change"):
        raise ValueError(f"must be a util.ChangeFilter, not {checks.kind(value)}")
    return value


class ChangeScheduler(Scheduler):
    """A scheduler that looks at changes; `take_change` handles one."""

    never_raises = True

    change_filter = argument(None, _filter, doc="a `ChangeFilter`: which changes it looks at; None: all")
    fileIsImportant = argument(
        None,
        checks.optional(checks.function),
        doc="""function of a `Change`, whether it is worth a build; the others are built along with the next important
        one. None: all are""",
    )
    onlyImportant = argument(False, checks.flag, doc="do not even build the others along")
    createAbsoluteSourceStamps = argument(
        False,
        checks.flag,
        doc="""of codebases that have no change build what their last change was, whenever that came, not what
        `codebases` says""",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.feed = _Feed(0, 0, True)
        self.__lock = DeferredLock()
        self.__stale = True
        self.__unnoted = 0
        self.__alongside: Callable[[Connection], None] | None = None
        self.__events = EventFollower(self, self.__clock, self.__take_event, self.__catch_up)

    @abstractmethod
    async def take_change(self, change: Change, important: bool) -> None:
        """Handle a change that passed the filter, by `classify` or `build_changes`."""

    # the state

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the state; it is read first if it is unknown whether the last holder has written it."""
        async with self.__lock:
            if self.__stale:
                await self.__read()
            self.__stale = True
            yield
            self.__stale = False

    async def start_work(self) -> None:
        """As ``Scheduler.start_work``; another master may have run it since this one last did."""
        self.__stale = True
        await super().start_work()

    async def __read(self) -> None:
        stored = await self.master.db.state.getState(self.objectid, "feed", None)
        if stored is None:
            newest, clock = await self.master.data.snapshot({"order": ["-changeid"], "limit": 1}, ("changes",))
            self.feed = _Feed(clock, newest[0]["changeid"] if newest else 0, self.enabled)
            await self.note()
        else:
            self.feed = _Feed(**stored)
        self.__unnoted = 0

    async def note(self) -> None:
        """Write the state."""
        await self.master.db.pool.do(self.__thd_note, asdict(self.feed))
        self.__unnoted = 0

    async def __note_if_held(self) -> None:
        try:
            await self.note()
        except NotClaimedError:
            self.__unnoted = 0  # the master that runs it now looks at those changes again, without harm

    def __thd_note(self, conn: Connection, feed: dict[str, Any]) -> None:
        self.thd_hold(conn)
        self.master.db.state.thdSetState(conn, self.objectid, "feed", feed)

    def noting(self) -> Callable[[Connection], None]:
        """A function that writes the present state, in a transaction that does more."""
        feed = asdict(self.feed)
        return lambda conn: self.__thd_note(conn, feed)

    # following the changes

    def follow_changes(self) -> None:
        """Look at the missed changes, then at the new ones."""
        self.__events.follow([("changes", None, "new"), ("schedulers", str(self.schedulerid), "updated")])

    async def stop_following(self) -> None:
        """Stop looking at changes; returns when the present one has been dealt with."""
        await self.__events.stop()
        async with self.exclusive():
            if self.__unnoted:
                await self.__note_if_held()

    async def __clock(self) -> int:
        return self.feed.clock

    async def __catch_up(self) -> None:
        while self.__events.following:
            query = {"filters": {"changeid__gt": self.feed.changeid}, "order": ["changeid"], "limit": PAGE}
            page, clock = await self.master.data.snapshot(query, ("changes",))
            for data in page:
                await self.__events.take(None, "changes", data)
            if len(page) < PAGE and self.__events.following:
                async with self.exclusive():
                    self.feed.clock, self.feed.enabled = clock, self.enabled
                    await self.note()
                return

    async def __take_event(self, clock: int | None, noun: str, message: Mapping[str, Any]) -> None:
        async with self.exclusive():
            if noun == "schedulers":
                self.feed.clock, self.feed.enabled = clock or self.feed.clock, message["enabled"]
                self.__unnoted += 1
            elif not self.__is_taken(clock, message["changeid"]):
                await self.__take(clock, message)

    def __is_taken(self, clock: int | None, changeid: int) -> bool:
        # ids may become visible out of order, so they count only where there is no clock
        return changeid <= self.feed.changeid if clock is None else clock <= self.feed.clock

    async def __take(self, clock: int | None, data: Mapping[str, Any]) -> None:
        self.feed.clock = self.feed.clock if clock is None else clock
        self.feed.changeid = max(self.feed.changeid, data["changeid"])
        if self.feed.only_if_changed is None:
            self.feed.only_if_changed = True  # from the first change on it is known whether there was one
        change = Change.from_data(data)
        if self.feed.enabled and self.is_wanted(change):
            if self.createAbsoluteSourceStamps:
                code = {"repository": change.repository, "branch": change.branch, "revision": change.revision}
                self.feed.seen = {**self.feed.seen, change.codebase: code}
            important = self.__is_important(change)
            if important or not self.onlyImportant:
                await self.take_change(change, important)
                return
        self.__unnoted += 1
        if self.__unnoted >= _UNNOTED:
            await self.note()

    def is_wanted(self, change: Change) -> bool:
        """Whether the change is of the scheduler's codebases and its filter lets it pass."""
        if change.codebase not in self.codebases:
            return False
        try:
            return self.change_filter is None or bool(self.change_filter.filter_change(change))
        except Exception:
            _log.failure("{part!r}: the change filter failed; change {id} is passed over", part=self, id=change.number)
            return False

    def __is_important(self, change: Change) -> bool:
        try:
            return self.fileIsImportant is None or bool(self.fileIsImportant(change))
        except Exception:
            _log.failure(
                "{part!r}: fileIsImportant failed; change {id} counts as important", part=self, id=change.number
            )
            return True

    # changes that wait, and building; all with the state held

    async def classify(self, change: Change, important: bool) -> None:
        """Let a change wait for its build."""
        await self.master.db.pool.do(self.__thd_classify, {change.number: important}, asdict(self.feed))
        self.__unnoted = 0

    def __thd_classify(self, conn: Connection, classifications: Mapping[int, bool], feed: dict[str, Any]) -> None:
        self.master.db.schedulers.thdClassifyChanges(conn, self.objectid, classifications)
        self.__thd_note(conn, feed)

    async def waiting_changes(self) -> dict[int, bool]:
        """The changes that wait, and whether each is important."""
        found: dict[int, bool] = await self.master.db.schedulers.getChangeClassifications(self.objectid)
        return found

    async def forget_unwanted(self) -> None:
        """Let no change wait that the scheduler, configured anew, no longer looks at."""
        changes = await self.read_changes(list(await self.waiting_changes()))
        unwanted = {change.number for change in changes if not self.is_wanted(change)}
        if unwanted:
            await self.master.db.pool.do(self.__thd_forget_held, unwanted)

    def __thd_forget_held(self, conn: Connection, changeids: set[int]) -> None:
        self.thd_hold(conn)
        self.__thd_forget(conn, changeids)

    async def build_changes(self, changeids: Sequence[int], reason: str) -> None:
        """Make one buildset for changes, which no longer wait then.

        Args:
            changeids: the changes to build; empty: the code of the scheduler's `codebases`.
            reason: of the buildset.
        """
        feed = asdict(self.feed)

        def thd_alongside(conn: Connection) -> None:
            self.__thd_forget(conn, set(changeids))
            self.__thd_note(conn, feed)

        # by keywords, and nothing of ours among them: users override it
        await self.writing(thd_alongside, lambda: self.addBuildsetForChanges(changeids=list(changeids), reason=reason))

    async def writing(self, thd_alongside: Callable[[Connection], None], work: Callable[[], Any]) -> None:
        """Do work of users' own, which may make buildsets, and write something with the first one, or at its end.

        Args:
            thd_alongside: what is to be written, called with the connection.
            work: called without arguments; may give a Deferred or a coroutine.
        """
        self.__alongside = thd_alongside
        try:
            await resolved(work())
        finally:
            left, self.__alongside = self.__alongside, None
        if left is not None:  # it made no buildset
            await self.master.db.pool.do(left)
        self.__unnoted = 0

    async def store_buildset(
        self, buildset: dict[str, Any], alongside: Callable[[Connection], None] | None
    ) -> tuple[int, dict[str, int]]:
        """As ``Scheduler.store_buildset``; what `build_changes` has to write is written with the first one."""
        ours, self.__alongside = self.__alongside, None
        if ours is None:
            return await super().store_buildset(buildset, alongside)
        also = alongside

        def thd_both(conn: Connection) -> None:
            ours(conn)
            if also is not None:
                also(conn)

        return await super().store_buildset(buildset, thd_both)

    def getCodebaseDict(self, codebase: str) -> Mapping[str, Any]:
        """As ``Scheduler.getCodebaseDict``; with ``createAbsoluteSourceStamps`` the code of its last change."""
        seen = self.feed.seen.get(codebase) if self.createAbsoluteSourceStamps else None
        return super().getCodebaseDict(codebase) if seen is None else seen

    def __thd_forget(self, conn: Connection, changeids: set[int]) -> None:
        schedulers = self.master.db.schedulers
        waiting: dict[int, bool] = schedulers.thdGetChangeClassifications(conn, self.objectid)
        if changeids.isdisjoint(waiting):
            return
        # the connector forgets all older classifications; changes that were not built are classified again
        schedulers.thdFlushChangeClassifications(conn, self.objectid, less_than=max(changeids) + 1)
        kept = {each: important for each, important in waiting.items() if each not in changeids}
        schedulers.thdClassifyChanges(conn, self.objectid, kept)
