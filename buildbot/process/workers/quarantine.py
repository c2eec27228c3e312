"""Quarantine of workers after a failure, each time twice as long, so that a broken worker does not use up the queue."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: seconds of the first quarantine, and of the longest
FIRST_S, LONGEST_S = 10.0, 3600.0


class Quarantine:
    """The quarantine of one worker.

    Args:
        reactor: for time.
        on_change: called when it begins and when it ends.

    Attributes:
        timeout_s: seconds of the next quarantine.
        reason: why it is in quarantine; None while it is not.
        ends_at: when it ends, by the reactor's clock.
    """

    def __init__(self, reactor: IReactorTime, on_change: Callable[[], None]) -> None:
        self.timeout_s = FIRST_S
        self.reason: str | None = None
        self.ends_at = 0.0
        self._reactor = reactor
        self._on_change = on_change
        self._timer: IDelayedCall | None = None

    @property
    def is_on(self) -> bool:
        """Whether the worker is in quarantine now."""
        return self.reason is not None

    @property
    def left_s(self) -> float:
        """The seconds until its end."""
        return max(0.0, self.ends_at - float(self._reactor.seconds())) if self.is_on else 0.0

    def enter(self, reason: str) -> None:
        """Begin, or begin anew; the next one takes twice as long."""
        self._stop_timer()
        self.reason = reason
        self.ends_at = self._reactor.seconds() + self.timeout_s
        self._timer = self._reactor.callLater(self.timeout_s, self.leave)
        self.timeout_s = min(self.timeout_s * 2, LONGEST_S)
        self._on_change()

    def leave(self) -> None:
        """End at once."""
        self._stop_timer()
        if self.is_on:
            self.reason = None
            self._on_change()

    def reset(self) -> None:
        """Let the next one be as short as the first."""
        self.timeout_s = FIRST_S

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
