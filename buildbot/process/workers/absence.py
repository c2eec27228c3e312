"""The report of a worker that is away for too long, once for each absence."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall

from buildbot.data.interfaces import Master


class Absence:
    """The absence of a worker.

    Args:
        master: for time.
        report: called with the beginning of an absence, as text for people, when it has lasted too long.
    """

    def __init__(self, master: Master, report: Callable[[str], None]) -> None:
        self._master = master
        self._report = report
        self._timer: IDelayedCall | None = None
        self._since = master.wall_seconds()

    def begin(self, timeout_s: float | None) -> None:
        """Begin an absence, which is reported after this time, or never if that is None or 0."""
        self.end()
        self._since = self._master.wall_seconds()
        if timeout_s:
            self._timer = self._master.reactor.callLater(timeout_s, self._too_long)

    def end(self) -> None:
        """End the absence: the worker is connected, or not expected any more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _too_long(self) -> None:
        self._timer = None
        self._report(time.ctime(self._since))
