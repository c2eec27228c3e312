"""Listeners to events, and waiting until all events have arrived."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from buildbot.mq.log import thdEventsAfter
from tests.support.reactor import reactor

Heard = tuple[tuple[str, ...], Any]


def next_turn() -> Deferred[None]:
    """Fires in the reactor's next turn."""
    return deferLater(reactor, 0, lambda: None)


class Listener:
    """A callback that keeps its messages, and the subscription's clock at each."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.clocks: list[int] = []
        self.subscription: Any = None

    def __call__(self, key: tuple[str, ...], message: Any) -> None:
        assert self.subscription is not None, "called before the Deferred of startConsuming fired"
        self.heard.append((key, message))
        self.clocks.append(self.subscription.clock)

    @property
    def keys(self) -> list[str]:
        """The routing keys of its events, joined by slashes."""
        return ["/".join(key) for key, _ in self.heard]

    async def until(self, clock: int) -> None:
        """All events up to this number have been delivered."""
        while self.subscription.clock < clock:
            await next_turn()


async def listen(state: Any, *path: Any, **options: Any) -> Listener:
    """A listener to the events of a path of the Data API."""
    listener = Listener()
    listener.subscription = await state.data.startConsuming(listener, options, path)
    return listener


async def watch(state: Any, *path: Any, **options: Any) -> Listener:
    """A listener to the events of a path, from a snapshot on; ``subscription.data`` is the snapshot."""
    listener = Listener()
    listener.subscription = await state.data.watch(listener, options, path)
    return listener


async def all_keys(state: Any, *lengths: int) -> list[Listener]:
    """Listeners to every routing key of these numbers of segments."""
    listeners = []
    for length in lengths:
        listener = Listener()
        listener.subscription = await state.mq.startConsuming(listener, (None,) * length)
        listeners.append(listener)
    return listeners


async def announced(state: Any, method: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
    """The events that a call wrote to the log: the first routing key of each, in order."""
    before = await state.data.clock()
    await method(*args, **kwargs)
    return [keys[0] for keys in await logged_after(state, before)]


async def announced_after(state: Any, since: int) -> list[tuple[tuple[str, ...], Any]]:
    """Routing keys and messages of the events in the log after a number; marks without keys are left out."""
    events = await state.db.pool.read(thdEventsAfter, since, 10_000)
    return [(event.keys, event.message) for event in events if event.keys]


async def logged_after(state: Any, since: int) -> list[tuple[str, ...]]:
    """Routing keys of the events in the log after a number; marks without keys are left out."""
    events = await state.db.pool.read(thdEventsAfter, since, 10_000)
    return [event.keys for event in events if event.keys]


async def expecting(state: Any, *key: str) -> Deferred[Heard]:
    """A Deferred that fires with the next event of this key; we listen to it already."""
    listening: Deferred[None] = Deferred()
    heard: Deferred[Heard] = state.mq.waitUntilEvent(key, lambda: listening.callback(None))
    await listening
    return heard
