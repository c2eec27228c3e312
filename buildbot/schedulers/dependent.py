"""Dependent: builds what another scheduler has built well.

**State.** One JSON value in the database (``master.db.state``, key ``dependent``)::

    {"clock": 812, "bsid": 40}

*clock* is a point in the history of the installation: the end of every buildset that was announced up to there has
been dealt with. *bsid* is the newest buildset that was dealt with, which matters only if the log of events does not
reach back to the clock: then newer buildsets that have ended are looked up. The state is written in one transaction
with the buildset that is made, so that a crash neither doubles nor loses one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy.engine import Connection
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.data.exceptions import SinceTooOldError
from buildbot.mq.log import Event
from buildbot.schedulers.base import BaseScheduler
from buildbot.util.background import in_background
from buildbot.util.results import SUCCESS, WARNINGS

_log = Logger()
_STATE = "dependent"
#: what a source stamp says about the code
_CODE = ("codebase", "branch", "revision", "repository", "project")


def _scheduler(value: Any) -> BaseScheduler:
    if not isinstance(value, BaseScheduler):
        raise ValueError(f"must be another scheduler, the object and not its name, not {checks.kind(value)}")
    return value


class Dependent(BaseScheduler):
    """Builds the same source stamps after a buildset of another scheduler has ended with success or warnings."""

    #: how long to wait after an error before a buildset is tried again, in seconds
    retry_step_s = 10.0

    positional: ClassVar[tuple[str, ...]] = ("name", "upstream", "builderNames", "properties", "codebases", "priority")
    upstream = argument(REQUIRED, _scheduler, doc="the other scheduler, the object itself")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__following = False
        self.__subscription: Any = None
        self.__ended: deque[tuple[int, Mapping[str, Any]]] = deque()
        self.__draining: Deferred[Any] | None = None
        self.__beginning: Deferred[Any] | None = None
        self.__pause: Deferred[None] | None = None

    async def start_scheduling(self) -> None:
        """Deal with the buildsets that have ended meanwhile, then with those that end."""
        self.__following = True
        self.__beginning = in_background(self.__subscribe(), f"{self!r}")

    async def stop_scheduling(self) -> None:
        """Look at no more ends; returns when the one under way has been dealt with."""
        self.__following = False
        self.__ended.clear()
        if self.__pause is not None:
            self.__pause.cancel()
        for work in (self.__beginning, self.__draining):
            if work is not None:
                await work
        if self.__subscription is not None:
            await maybeDeferred(self.__subscription.stopConsuming)
            self.__subscription = None

    async def __subscribe(self) -> None:
        while self.__following and self.__subscription is None:
            try:
                state = await self.master.db.state.getState(self.objectid, _STATE, None)
                if state is None:
                    state = await self.__first_state()
                pattern = [("buildsets", None, "complete")]
                self.__subscription = await self.master.data.subscribe(pattern, self.__arrive, state["clock"])
            except SinceTooOldError:
                await self.__catch_up(state["bsid"])
            except Exception:
                _log.failure("{part!r} cannot follow the buildsets and tries again", part=self)
                await self.__wait()

    async def __first_state(self) -> dict[str, int]:
        """Begin with the buildsets that end after now."""
        newest, clock = await self.master.data.snapshot({"order": ["-bsid"], "limit": 1}, ("buildsets",))
        state = {"clock": clock, "bsid": newest[0]["bsid"] if newest else 0}
        await self.master.db.pool.do(self.__thd_note, state)
        return state

    async def __catch_up(self, bsid: int) -> None:
        """Build what newer buildsets than one ask for: the log does not say any more which have ended since."""
        query = {
            "filters": {"bsid__gt": bsid, "complete": True, "scheduler": self.upstream.name},
            "order": ["bsid"],
        }
        missed, clock = await self.master.data.snapshot(query, ("buildsets",))
        for buildset in missed:
            await self.__take_until_done(None, buildset)
        newest = missed[-1]["bsid"] if missed else bsid
        await self.master.db.pool.do(self.__thd_note, {"clock": clock, "bsid": newest})

    def __arrive(self, event: Event, routing_key: tuple[str, ...]) -> None:
        if not self.__following or event.message["scheduler"] != self.upstream.name:
            return
        self.__ended.append((self.__subscription.clock, event.message))
        if self.__draining is None:
            self.__draining = in_background(self.__drain(), f"{self!r}")
            self.__draining.addBoth(self.__drained)

    def __drained(self, _: Any) -> None:
        self.__draining = None

    async def __drain(self) -> None:
        while self.__ended:
            await self.__take_until_done(*self.__ended.popleft())

    async def __take_until_done(self, clock: int | None, buildset: Mapping[str, Any]) -> None:
        while self.__following:
            try:
                await self.__take(clock, buildset)
                return
            except Exception:
                _log.failure("{part!r}: buildset {id} is tried again", part=self, id=buildset["bsid"])
                await self.__wait()

    async def __take(self, clock: int | None, buildset: Mapping[str, Any]) -> None:
        """Build after a buildset of the other scheduler, unless that has been done."""
        state = await self.master.db.state.getState(self.objectid, _STATE, None)
        bsid = buildset["bsid"]
        if clock is None and bsid <= state["bsid"]:
            return
        if clock is not None and clock <= state["clock"]:
            return
        state = {"clock": clock or state["clock"], "bsid": max(bsid, state["bsid"])}
        if not self.enabled or buildset["results"] not in (SUCCESS, WARNINGS):
            await self.master.db.pool.do(self.__thd_note, state)
            return
        await self.addBuildsetForSourceStamps(
            [await self.__stamp(each) for each in buildset["sourcestamps"]],
            "downstream",
            alongside=lambda conn: self.__thd_note(conn, state),
        )

    async def __stamp(self, stamp: Mapping[str, Any]) -> dict[str, Any]:
        """A source stamp of the other buildset, with its patch and its changes."""
        made = {key: stamp[key] for key in _CODE}
        if stamp["patch"] is not None:
            made |= {f"patch_{key}": stamp["patch"][key] for key in ("body", "level", "subdir", "author", "comment")}
        changes = await self.master.data.get({}, ("sourcestamps", stamp["ssid"], "changes"))
        return made | ({"changeids": [change["changeid"] for change in changes]} if changes else {})

    def __thd_note(self, conn: Connection, state: Mapping[str, int]) -> None:
        self.thd_hold(conn)
        self.master.db.state.thdSetState(conn, self.objectid, _STATE, dict(state))

    async def __wait(self) -> None:
        """Wait a little, less if the scheduler stops meanwhile."""
        self.__pause = Deferred()
        timer = self.master.reactor.callLater(self.retry_step_s, self.__pause.callback, None)
        try:
            await self.__pause
        except CancelledError:
            timer.cancel()
        finally:
            self.__pause = None
