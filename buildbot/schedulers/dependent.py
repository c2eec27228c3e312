"""Dependent: builds the same code after a buildset of another scheduler has succeeded.

**State.** One JSON value in the database (``master.db.state``, key ``dependent``)::

    {"clock": 812, "bsid": 40}

*clock* is a point in the history of the installation: the end of every buildset that was announced up to there has
been dealt with. *bsid* is the newest buildset that was dealt with, which matters only if the log of events does not
reach back to the clock: then newer buildsets that have ended are looked up. The state is written in one transaction
with the buildset that is made, so that a crash neither doubles nor loses one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy.engine import Connection

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.schedulers.following import EventFollower
from buildbot.schedulers.scheduler import Scheduler
from buildbot.util.deferreds import resolved
from buildbot.util.results import SUCCESS, WARNINGS

_STATE = "dependent"
#: the attributes of a source stamp that name the code
_CODE = ("codebase", "branch", "revision", "repository", "project")


def _scheduler(value: Any) -> Scheduler:
    if not isinstance(value, Scheduler):
        raise ValueError(f"must be another scheduler, the object and not its name, not {checks.kind(value)}")
    return value


class Dependent(Scheduler):
    """Builds the same source stamps after a buildset of another scheduler has ended with success or warnings."""

    never_raises = True

    positional: ClassVar[tuple[str, ...]] = ("name", "upstream", "builderNames", "properties", "codebases", "priority")
    upstream = argument(REQUIRED, _scheduler, doc="the other scheduler, the object itself")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__events = EventFollower(self, self.__clock, self.__take_event, self.__catch_up)

    async def start_scheduling(self) -> None:
        """Deal with the missed ends of buildsets, then with the new ones."""
        self.__events.follow([("buildsets", None, "complete")])

    async def stop_scheduling(self) -> None:
        """Look at no more ends; returns when the present one has been dealt with."""
        await self.__events.stop()

    async def __clock(self) -> int:
        state = await self.__state() or await self.__first_state()
        return state["clock"]

    async def __state(self) -> dict[str, int]:
        state: dict[str, int] = await self.master.db.state.getState(self.objectid, _STATE, {})
        return state

    async def __first_state(self) -> dict[str, int]:
        """Begin with the buildsets that end after now."""
        newest, clock = await self.master.data.snapshot({"order": ["-bsid"], "limit": 1}, ("buildsets",))
        state = {"clock": clock, "bsid": newest[0]["bsid"] if newest else 0}
        await self.master.db.pool.do(self.__thd_note, state)
        return state

    async def __catch_up(self) -> None:
        """Deal with the buildsets newer than the last one: the log does not say any more which have ended since."""
        bsid = (await self.__state())["bsid"]
        query = {
            "filters": {"bsid__gt": bsid, "complete": True, "scheduler": self.upstream.name},
            "order": ["bsid"],
        }
        missed, clock = await self.master.data.snapshot(query, ("buildsets",))
        for buildset in missed:
            await self.__events.take(None, "buildsets", buildset)
        if not self.__events.following:  # it has stopped, before the last one perhaps
            return
        newest = missed[-1]["bsid"] if missed else bsid
        await self.master.db.pool.do(self.__thd_note, {"clock": clock, "bsid": newest})

    async def __take_event(self, clock: int | None, noun: str, buildset: Mapping[str, Any]) -> None:
        if buildset["scheduler"] == self.upstream.name:
            await self.__take(clock, buildset)

    async def __take(self, clock: int | None, buildset: Mapping[str, Any]) -> None:
        """Build after a buildset of the other scheduler, unless that has been done."""
        state = await self.__state()
        bsid = buildset["bsid"]
        if clock is None and bsid <= state["bsid"]:
            return
        if clock is not None and clock <= state["clock"]:
            return
        state = {"clock": clock or state["clock"], "bsid": max(bsid, state["bsid"])}
        if not self.enabled or buildset["results"] not in (SUCCESS, WARNINGS):
            await self.master.db.pool.do(self.__thd_note, state)
            return
        stamps = [await self.__stamp(each) for each in buildset["sourcestamps"]]
        await resolved(
            self.addBuildsetForSourceStamps(
                sourcestamps=stamps, reason="downstream", alongside=lambda conn: self.__thd_note(conn, state)
            )
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
