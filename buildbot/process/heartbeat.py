"""The master's heartbeat: it checks in, and declares silent masters dead.

Every ``beat_s`` seconds this master checks in, and declares dead every master that has not checked in for ``expiry_s``.
If it finds that it was declared dead itself (it was paused, or could not reach the database), all its claims are
released: its builds are stopped, then it begins at a new epoch. Every ``TRIM_S`` seconds old events are removed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from buildbot.data.interfaces import Master

log = Logger()

BEAT_S = 10
EXPIRY_S = 60
TRIM_S = 600
#: seconds that the log of events reaches back
KEEP_EVENTS_S = 24 * 3600
#: the largest number of events in the log
KEEP_EVENTS = 5_000_000


class Heartbeat:
    """The regular check-in of one master.

    Args:
        master: the master.
        on_lost: awaited when this master finds that it was declared dead, before it begins at a new epoch.
        beat_s, expiry_s: the same for all masters of the installation; default `BEAT_S` and `EXPIRY_S`.
    """

    def __init__(
        self,
        master: Master,
        on_lost: Callable[[], Awaitable[None]],
        beat_s: float | None = None,
        expiry_s: int | None = None,
    ) -> None:
        self._master = master
        self._on_lost = on_lost
        self._beat_s = BEAT_S if beat_s is None else beat_s
        self._expiry_s = EXPIRY_S if expiry_s is None else expiry_s
        self._checked_in_at: float | None = None
        self._giving_up = False
        self._beating = LoopingCall(self._beat)
        self._trimming = LoopingCall(self._trim)
        self._beating.clock = self._trimming.clock = master.reactor

    async def start(self) -> None:
        """Check in for the first time, which cleans up after an earlier process; then check in regularly."""
        await self._check_in()
        self._beating.start(self._beat_s, now=False)
        self._trimming.start(TRIM_S, now=True)

    async def stop(self) -> None:
        """Store that this master stops."""
        for loop in (self._beating, self._trimming):
            if loop.running:
                loop.stop()
        self._checked_in_at = None
        await self._master.data.update.masterStopped()

    @property
    def silent_s(self) -> float | None:
        """Seconds since the last successful check-in; None before the first and after the end."""
        return None if self._checked_in_at is None else self._master.reactor.seconds() - self._checked_in_at

    @property
    def is_late(self) -> bool:
        """Whether the last check-in is so long ago that other masters may soon declare this one dead."""
        silent_s = self.silent_s
        return silent_s is not None and silent_s > (self._beat_s + self._expiry_s) / 2

    async def _check_in(self) -> bool:
        """Check in; False if this master was declared dead since the last time."""
        begun = self._master.reactor.seconds()
        alive: bool = await self._master.data.update.masterActive()
        if alive:
            self._checked_in_at = begun
        return alive

    async def _checked(self) -> None:
        update = self._master.data.update
        # a call that fails is repeated at the next beat, so nothing begins before the old builds are stopped
        if self._giving_up or not await self._check_in():
            log.error("another master declared this one dead; stopping its builds and beginning at a new epoch")
            self._giving_up = True
            await self._on_lost()
            self._giving_up = False
            await self._check_in()
        for masterid in await update.expireMasters(self._expiry_s):
            log.warn(
                "master {masterid} has not checked in for {expiry} s; its work is released",
                masterid=masterid,
                expiry=self._expiry_s,
            )

    def _beat(self) -> Any:
        return ensureDeferred(self._checked()).addErrback(
            lambda failure: log.failure("the heartbeat failed; trying again", failure)
        )

    def _trim(self) -> Any:
        trimming = self._master.data.update.trimEvents(KEEP_EVENTS_S, KEEP_EVENTS)
        return trimming.addErrback(lambda failure: log.failure("trimming the log of events failed", failure))
