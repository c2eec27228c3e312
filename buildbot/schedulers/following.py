"""Events that a scheduler takes: each once, in their order, tried again until it succeeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger

from buildbot.data.exceptions import SinceTooOldError
from buildbot.mq.log import Event
from buildbot.mq.match import Pattern
from buildbot.mq.subscription import Subscription
from buildbot.schedulers.scheduler import Scheduler
from buildbot.util.background import in_background

_log = Logger()


class EventFollower:
    """Follows the log of events for a scheduler, from a point in the installation's history on.

    Args:
        scheduler: the scheduler.
        start: gives the clock after which it follows.
        take: ``take(clock, noun, message)`` deals with one event; clock: the event's, None if it comes from `catch_up`;
            noun: the first word of its routing key. An error means that it is called again with the same event.
        catch_up: called where the log no longer reaches back to the clock; deals with what is missing in the log, and
            moves the clock that ``start`` gives.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        start: Callable[[], Awaitable[int]],
        take: Callable[[int | None, str, Mapping[str, Any]], Awaitable[None]],
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._scheduler, self._start, self._take, self._catch_up = scheduler, start, take, catch_up
        self._following = False
        self._arrived: deque[tuple[int, str, Mapping[str, Any]]] = deque()
        self._subscription: Subscription | None = None
        self._subscribing: Deferred[None] | None = None
        self._draining: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None

    @property
    def following(self) -> bool:
        """Whether it follows the events; False from `stop` on."""
        return self._following

    def follow(self, patterns: Sequence[Pattern]) -> None:
        """Take the missed events, then the new ones, whose routing keys match one of the patterns."""
        self._following = True
        self._subscribing = in_background(self._subscribe(patterns), f"{self._scheduler!r}")

    async def stop(self) -> None:
        """Take no more events; returns when the present one has been dealt with."""
        self._following = False
        self._arrived.clear()
        if self._pause is not None:
            self._pause.cancel()
        for work in (self._subscribing, self._draining):
            if work is not None:
                await work
        if self._subscription is not None:
            await maybeDeferred(self._subscription.stopConsuming)
            self._subscription = None

    async def take(self, clock: int | None, noun: str, message: Mapping[str, Any]) -> None:
        """Deal with an event, again and again until that succeeds or the scheduler stops."""
        while self._following:
            try:
                await self._take(clock, noun, message)
                return
            except Exception:
                _log.failure(
                    "{part!r}: {noun} {message} is tried again", part=self._scheduler, noun=noun, message=message
                )
                await self._wait()

    async def _subscribe(self, patterns: Sequence[Pattern]) -> None:
        data = self._scheduler.master.data
        while self._following and self._subscription is None:
            try:
                try:
                    self._subscription = await data.subscribe(patterns, self._arrive, await self._start())
                except SinceTooOldError:
                    await self._catch_up()
            except Exception:
                _log.failure("{part!r} cannot follow the events and tries again", part=self._scheduler)
                await self._wait()

    def _arrive(self, event: Event, routing_key: tuple[str, ...]) -> None:
        if not self._following:
            return
        assert self._subscription is not None
        self._arrived.append((self._subscription.clock, routing_key[0], event.message))
        if self._draining is None:
            self._draining = in_background(self._drain(), f"{self._scheduler!r}")
            self._draining.addBoth(self._drained)

    def _drained(self, _: object) -> None:
        self._draining = None

    async def _drain(self) -> None:
        while self._arrived:
            await self.take(*self._arrived.popleft())

    async def _wait(self) -> None:
        """Wait before the next try; less if the scheduler stops meanwhile."""
        self._pause = Deferred()
        timer = self._scheduler.master.reactor.callLater(self._scheduler.retry_step_s, self._pause.callback, None)
        try:
            await self._pause
        except CancelledError:
            timer.cancel()
        finally:
            self._pause = None
