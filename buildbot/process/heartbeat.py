"""The master's heartbeat: it checks in, and looks after those that do not.

Every ``beat_s`` seconds this master says that it is alive, and declares dead whoever has not done so for
``expiry_s``. If it finds that it was declared dead itself (it was paused, or the database was away for it alone),
all its claims are gone: its builds are stopped, then it begins anew at another epoch. Every ``TRIM_S`` seconds old
events are removed.
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
#: how long the log of events reaches back
KEEP_EVENTS_S = 24 * 3600
#: and how many events it holds at most, however young they are
KEEP_EVENTS = 5_000_000


class Heartbeat:
    """Keeps one master alive in the eyes of the others.

    Args:
        master: the master.
        on_lost: awaited when this master finds that it was declared dead, before it begins anew.
        beat_s, expiry_s: the same for all masters of the installation.
    """

    def __init__(
        self, master: Master, on_lost: Callable[[], Awaitable[None]], beat_s: float = BEAT_S, expiry_s: int = EXPIRY_S
    ) -> None:
        self._master = master
        self._on_lost = on_lost
        self._beat_s = beat_s
        self._expiry_s = expiry_s
        self._beating = LoopingCall(self._beat)
        self._trimming = LoopingCall(self._trim)
        self._beating.clock = self._trimming.clock = master.reactor

    async def start(self) -> None:
        """Check in for the first time, which cleans up what an earlier process left, and go on doing so."""
        await self._master.data.update.masterActive()
        self._beating.start(self._beat_s, now=False)
        self._trimming.start(TRIM_S, now=True)

    async def stop(self) -> None:
        """Say that this master ends."""
        for loop in (self._beating, self._trimming):
            if loop.running:
                loop.stop()
        await self._master.data.update.masterStopped()

    async def _checked(self) -> None:
        update = self._master.data.update
        if not await update.masterActive():
            log.error("other masters declared this one dead; stopping its builds and beginning anew")
            await self._on_lost()
            await update.masterActive()
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
