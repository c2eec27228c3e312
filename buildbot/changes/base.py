"""The base classes of change sources, and of pollers."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.data.base import Events
from buildbot.data.changes import storable
from buildbot.process.claimed import ClaimedPart
from buildbot.process.properties import Properties
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred, resolved

_log = Logger()

#: the name that the position of a source is kept under
POSITION = "position"


class PollError(Exception):
    """A poll failed for a reason outside of the master, which the message says; the next interval tries again."""


def category_argument() -> Any:
    """Declare the argument ``category`` of a change source."""
    return argument(
        None,
        checks.optional(checks.either(checks.text, checks.function, otherwise="a text or a function")),
        doc="of the changes; a function is given the change's attributes as a dictionary",
    )


def categorised(change: dict[str, Any], category: Any) -> dict[str, Any]:
    """A change with its category, which a function of users may say."""
    return {**change, "category": category(change) if callable(category) else category}


class ChangeSource(ClaimedPart):
    """Something that tells the master about changes; one master of the installation runs it."""

    #: with its name, what its position is kept under; a subclass goes on where its base class was
    state_class: ClassVar[str] = "ChangeSource"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changesourceid = 0

    async def claim(self, masterid: int | None) -> bool:
        """Claim it for a master, or give it up with None."""
        update = self.master.data.update
        self.changesourceid = await update.findChangeSourceId(self.name)
        return bool(await update.setChangeSourceMaster(self.changesourceid, masterid))

    def thd_hold(self, conn: Connection) -> None:
        """Make sure that this master runs the source until the transaction ends; NotClaimedError if not."""
        self.master.db.changesources.thdHold(conn, self.changesourceid)

    async def add_change(self, **change: Any) -> int:
        """Add a change (the arguments of ``addChange``), provided that this master still runs the source.

        What of it cannot be stored is cut or replaced (`buildbot.data.changes.storable`): the change itself counts.

        Raises NotClaimedError if it does not, and adds nothing: another master finds the change again.
        """
        return int((await self.master.data.update.transact(self.__thd_add_changes, [self.__storable(change)]))[0])

    def __storable(self, change: dict[str, Any]) -> dict[str, Any]:
        kept = storable(change)
        for name in ("comments", "files"):
            if len(kept.get(name) or ()) < len(change.get(name) or ()):
                _log.warn("{source}: {name} of a change are cut", source=self, name=name)
        return self.master.data.update.described(kept)

    def __thd_add_changes(self, conn: Connection, events: Events, changes: Sequence[dict[str, Any]]) -> list[int]:
        self.thd_hold(conn)
        return [int(self.master.data.update.thdAddChange(conn, events, **change)) for change in changes]

    async def get_position(self, default: Any = None) -> Any:
        """How far the source has come: what `advance` kept last, in whichever master; ``default`` if there is none."""
        return await self.master.db.state.getState(await self.__objectid(), POSITION, default)

    async def advance(self, changes: Sequence[Mapping[str, Any]], position: Any) -> list[int]:
        """Add changes, and keep the position that the source has come to with them: both, or neither.

        A source that goes on from `get_position` tells of everything once, wherever it was interrupted.

        Args:
            changes: for each the arguments of ``addChange``; may be none.
            position: a JSON value.

        Returns:
            The changeids.

        Raises NotClaimedError as ``add_change`` does.
        """
        storable, objectid = [self.__storable(dict(change)) for change in changes], await self.__objectid()
        added: list[int] = await self.master.data.update.transact(self.__thd_advance, storable, objectid, position)
        return added

    def __thd_advance(
        self, conn: Connection, events: Events, changes: Sequence[dict[str, Any]], objectid: int, position: Any
    ) -> list[int]:
        added = self.__thd_add_changes(conn, events, changes)
        self.master.db.state.thdSetState(conn, objectid, POSITION, position)
        return added

    async def __objectid(self) -> int:
        return int(await self.master.db.state.getObjectId(self.name, self.state_class))

    async def render(self, value: Any) -> Any:
        """``value`` with the renderables in it replaced: secrets, for example; there are no properties here."""
        properties: Any = Properties()
        properties.master = self.master
        return await properties.render(value)

    async def set_state(self, objectid: int, name: str, value: Any) -> None:
        """Keep a value of the source's (as ``state.setState``), provided that this master still runs it.

        Raises NotClaimedError as ``add_change`` does.
        """
        await self.master.db.pool.do(self.__thd_set_state, objectid, name, value)

    def __thd_set_state(self, conn: Connection, objectid: int, name: str, value: Any) -> None:
        self.thd_hold(conn)
        self.master.db.state.thdSetState(conn, objectid, name, value)


class PollingChangeSource(ChangeSource):
    """A change source that looks for changes at intervals, one poll at a time.

    A poll that fails is logged once, however often it fails in the same way, and tried again at the next
    interval; the first one that works again is logged too.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "name",
        "pollInterval",
        "pollAtLaunch",
        "pollRandomDelayMin",
        "pollRandomDelayMax",
    )
    pollInterval = argument(
        600,
        checks.number(),
        doc="seconds from the beginning of one poll to that of the next; 0 polls only when told to",
    )
    pollAtLaunch = argument(
        False, checks.flag, doc="poll at once when the master starts, rather than after the first interval"
    )
    pollRandomDelayMin = argument(
        0,
        checks.number(),
        doc="""each poll waits for a random number of seconds from this one to `pollRandomDelayMax` on top, so that many
        pollers do not ask one server at the same moment""",
    )
    pollRandomDelayMax = argument(0, checks.number(), doc="see `pollRandomDelayMin`")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kind = type(self).__name__
        if self.pollRandomDelayMin > self.pollRandomDelayMax:
            error(f"{kind}: pollRandomDelayMin must not be above pollRandomDelayMax")
        elif self.pollRandomDelayMax and self.pollRandomDelayMax >= self.pollInterval:
            error(f"{kind}: pollRandomDelayMax must be less than pollInterval")
        self.stopping = False
        self.__timer: Any = None
        self.__polling = DeferredLock()
        self.__askers: list[Deferred[None]] = []  # for the next poll
        self.__problem: str | None = None
        self.__wishes: Any = None

    @abstractmethod
    async def poll(self) -> None:
        """Look for changes once and tell the master about them.

        ``self.stopping`` becomes true when the master stops: a long poll should then come to an end, in a
        state from which the next one goes on.

        Raises:
            PollError: with what is wrong, in words for the log.
        """

    @deferred
    async def poll_now(self) -> None:
        """Poll outside of the intervals: at once, or when the poll that is running now has ended.

        Returns:
            Deferred that fires when that poll has ended; what goes wrong in it is logged as always.
        """
        done: Deferred[None] = Deferred()
        self.__askers.append(done)
        if len(self.__askers) == 1:
            in_background(self.__poll_alone(), f"poll of {self!r}")
        await done

    async def start_work(self) -> None:
        """Poll now or after the first interval."""
        self.stopping = False
        changesourceid = await self.master.data.update.findChangeSourceId(self.name)
        key = ("control", "changesources", str(changesourceid), "poll")
        self.__wishes = await self.master.mq.startConsuming(self.__wished, key)
        self.__schedule(0 if self.pollAtLaunch else self.pollInterval)

    async def stop_work(self) -> None:
        """Stop polling; returns when the poll that is under way has ended."""
        self.stopping = True
        if self.__wishes is not None:
            await maybeDeferred(self.__wishes.stopConsuming)
            self.__wishes = None
        if self.__timer is not None:
            self.__timer.cancel()
            self.__timer = None
        async with self.__polling:
            self.__problem = None

    def __wished(self, key: tuple[str, ...], message: Any) -> None:
        # who asks again before the poll begins gets the same one
        if not self.__askers:
            self.poll_now()

    def __schedule(self, delay_s: float) -> None:
        if self.pollInterval or (self.pollAtLaunch and delay_s == 0):
            delay_s += random.uniform(self.pollRandomDelayMin, self.pollRandomDelayMax)
            self.__timer = self.master.reactor.callLater(delay_s, self.__interval_over)

    def __interval_over(self) -> None:
        self.__timer = None
        started = self.master.reactor.seconds()

        def ended(_: Any) -> None:
            if not self.stopping:
                # the reactor's clock may be set; so a poll waits at most one interval
                took_s = max(0.0, self.master.reactor.seconds() - started)
                self.__schedule(max(0.0, self.pollInterval - took_s))

        self.poll_now().addBoth(ended)

    async def __poll_alone(self) -> None:
        async with self.__polling:
            # a caller from here on needs another poll: this one may have asked the server already
            askers, self.__askers = self.__askers, []
            if not self.stopping:
                await self.__poll_and_report()
        for each in askers:
            each.callback(None)

    async def __poll_and_report(self) -> None:
        try:
            await resolved(self.poll())
        except PollError as problem:
            self.__report(str(problem))
        except Exception as problem:
            if self.__report(f"{type(problem).__name__}: {problem}"):
                _log.failure("{part!r}: unexpected error in a poll", part=self)
        else:
            self.__report(None)

    def __report(self, problem: str | None) -> bool:
        news = problem != self.__problem and not self.stopping
        if news and problem is not None:
            _log.error("{part!r}: {problem}; nothing is lost, the next poll tries again", part=self, problem=problem)
        elif news:
            _log.info("{part!r}: works again", part=self)
        self.__problem = problem
        return news
