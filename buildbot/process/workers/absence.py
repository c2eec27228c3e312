"""Workers that stay away for too long are reported, once for each time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall


class Absence:
    """How long a worker has been away.

    Args:
        master: for time.
        report: called with the time since when it has been away, as people read it, when that is too long.
    """

    def __init__(self, master: Any, report: Callable[[str], None]) -> None:
        self._master = master
        self._report = report
        self._timer: IDelayedCall | None = None
        self._since = master.wall_seconds()

    def begin(self, timeout_s: float | None) -> None:
        """It is away; to be reported after this time, or never if that is None or 0."""
        self.end()
        self._since = self._master.wall_seconds()
        if timeout_s:
            self._timer = self._master.reactor.callLater(timeout_s, self._too_long)

    def end(self) -> None:
        """It is there, or not expected any more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _too_long(self) -> None:
        self._timer = None
        self._report(time.ctime(self._since))
