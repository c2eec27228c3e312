"""The subscriptions of one client, for WebSocket and SSE.

A feed gives events to ``send`` while the client reads fast enough. When it does not, the protocol calls ``suspend``:
then the subscriptions keep their positions in the log of events and nothing else, so that a sleeping client costs no
memory. ``resume`` goes on from there. If the log has been trimmed meanwhile, the feed calls ``lost`` and the protocol
closes the connection: the client comes back, gets 410, and fetches again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from buildbot.mq.log import Event
from buildbot.mq.subscription import Deliver, Subscription
from buildbot.www.errors import RefusedError
from buildbot.www.stream.limits import Limits, checked_path

#: called with an event and the key, in segments, that matches the subscription
Send = Callable[[Event, tuple[str, ...]], None]


class Events(Protocol):
    """The part of the Data API that feeds need."""

    def follow(self, path: str, deliver: Deliver, since: int | None) -> Awaitable[Subscription]:
        """Deliver every later event of the resources at a path, from ``since`` or from now on."""


#: digits of the longest clock
_CLOCK_DIGITS = 20


@dataclass(slots=True, eq=False)
class _Interest:
    """A path that the client follows."""

    subscription: Subscription
    resumable: bool


def clock_of(since: object) -> int:
    """A clock that a client sent, a number or its text; RefusedError if it is none."""
    text = str(since)
    if isinstance(since, bool) or not text.isascii() or not text.isdigit() or len(text) > _CLOCK_DIGITS:
        raise RefusedError(400, f"invalid since '{text[:_CLOCK_DIGITS]}'")
    return int(text)


class Feed:
    """The subscriptions of one client.

    Args:
        events: the Data API.
        send: called with every event, in order within each path.
        lost: called if the client can no longer be served without a gap.
        limits: the limits that all clients share; None: this one is not limited.
        address: of the client.
    """

    def __init__(
        self, events: Events, send: Send, lost: Callable[[], None], limits: Limits | None = None, address: str = ""
    ) -> None:
        self._limits = limits
        self._pace = None if limits is None else limits.pace(address)
        self._events = events
        self._send = send
        self._lost = lost
        self._interests: dict[str, _Interest] = {}
        self._suspended = False
        self._closed = False

    def __contains__(self, path: str) -> bool:
        return path in self._interests

    async def start(self, path: str, since: int | None = None) -> int:
        """Follow ``path`` from the event after ``since`` on, or from now.

        If the path is followed already, nothing changes; with ``since`` it begins anew.

        Returns:
            The clock from which on events are sent; none is sent before this returns.

        Raises:
            SinceTooOldError: events after ``since`` are gone already; nothing is followed.
            InvalidOptionError: ``since`` is in the future.
            RefusedError: the path is too long, or the client follows too many.
        """
        checked_path(path)
        if since is None and path in self._interests:
            return self._interests[path].subscription.clock
        self.stop(path)
        if self._limits is not None:
            self._limits.take_path(len(self._interests))
        try:
            if since is not None and self._pace is not None:
                await self._pace.wait()
            subscription = await self._events.follow(path, self._send, since)
        except BaseException:
            self._give_path()
            raise
        if self._closed or path in self._interests:  # the client is gone, or asked twice at the same time
            subscription.stopConsuming()
            self._give_path()
        else:
            subscription.pace = self._pace
            subscription.on_lost = self._lost
            self._interests[path] = _Interest(subscription, since is not None)
            if self._suspended:
                subscription.pause()
        return subscription.clock if since is None else since

    def stop(self, path: str) -> bool:
        """Follow ``path`` no longer; False if it was not followed."""
        interest = self._interests.pop(path, None)
        if interest is None:
            return False
        interest.subscription.stopConsuming()
        self._give_path()
        return True

    def _give_path(self) -> None:
        if self._limits is not None:
            self._limits.give_path()

    def bookmark(self) -> int | None:
        """The clock up to which all paths begun with ``since`` have been sent; None if there is no such path."""
        if self._suspended:
            return None
        clocks = [one.subscription.clock for one in self._interests.values() if one.resumable]
        return min(clocks, default=None)

    def suspend(self) -> None:
        """Send nothing more until ``resume``; meanwhile events wait in the log."""
        self._suspended = True
        for interest in self._interests.values():
            interest.subscription.pause()

    def resume(self) -> None:
        """Send the events since ``suspend``, then go on live."""
        self._suspended = False
        for interest in self._interests.values():
            interest.subscription.resume()

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        for path in list(self._interests):
            self.stop(path)
