"""Subscriptions."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from buildbot.data.exceptions import InvalidOptionError, SinceTooOldError
from buildbot.mq.connector import CursorTooOldError
from buildbot.mq.log import thdEventsAfter
from tests.support.building import add_request, run_build
from tests.support.events import Listener, listen, logged_after, next_turn, watch


async def change(state: Any, author: str = "") -> str:
    """Add a change; the routing key of its event."""
    return f"changes/{await state.data.update.addChange(author=author)}/new"


async def test_hears(state: Any) -> None:
    """callback(routing_key, message), a tuple of str and a dict that holds at least every attribute."""
    listener = await listen(state, "changes")
    key = await change(state, "Al")
    await listener.until(await state.data.clock())
    ((heard, message),) = listener.heard
    assert heard == tuple(key.split("/"))
    assert isinstance(heard, tuple)
    found = await state.data.get({}, ("changes", heard[1]))
    assert message == {name: found[name] for name in message}
    assert message["author"] == "Al"


async def test_patterns(state: Any) -> None:
    """A subscription to a list delivers events whose key is the list's path, one identifier and the event."""
    running = await run_build(state)
    builds = await listen(state, "builds")
    one = await listen(state, "builds", str(running.buildid))
    other = await listen(state, "builds", running.buildid + 1)
    steps = await listen(state, "builds", running.buildid, "steps")
    builder = await state.data.get({}, ("builders", "linux"))
    by_builder = await listen(state, "builders", builder["builderid"], "builds")
    await state.data.update.setStepStateString(running.stepid, "x")
    await state.data.update.setBuildStateString(running.buildid, "y")
    await state.data.update.setBuildProperties(running.buildid, {"p": (1, "s")})
    for listener in (builds, one, other, steps, by_builder):
        await listener.until(await state.data.clock())
    build = f"builds/{running.buildid}"
    assert (builds.keys, one.keys, other.keys) == ([f"{build}/update"], [f"{build}/update"], [])
    assert steps.keys == [f"{build}/steps/{running.stepid}/updated"]
    assert [key.split("/")[-2:] for key in by_builder.keys] == [["1", "update"]]


async def test_now(state: Any) -> None:
    """Without ``since`` it starts at now."""
    await change(state)
    listener = await listen(state, "changes")
    key = await change(state)
    await listener.until(await state.data.clock())
    assert listener.keys == [key]


async def test_not_before_the_deferred(state: Any) -> None:
    """No callback runs before the Deferred of startConsuming or watch has fired."""
    clock = await state.data.clock()
    expected = [await change(state) for _ in range(5)]
    listener = Listener()
    started = state.data.startConsuming(listener, {"since": clock}, ("changes",))
    more = gatherResults([state.data.update.addChange() for _ in range(5)])
    listener.subscription = await started  # the listener fails if it is called before
    assert listener.heard == []
    expected += [f"changes/{changeid}/new" for changeid in await more]
    await listener.until(await state.data.clock())
    assert sorted(listener.keys) == sorted(expected)


async def test_since(state: Any) -> None:
    """Delivers every later event that matches, in order, once, first from the log, then live, with no seam."""
    clocks, keys = [await state.data.clock()], []
    for _ in range(10):
        keys.append(await change(state))
        await add_request(state)
        clocks.append(await state.data.clock())
    listeners = [await listen(state, "changes", since=clock) for clock in clocks]
    for _ in range(3):
        keys.append(await change(state))
    for number, listener in enumerate(listeners):
        await listener.until(await state.data.clock())
        assert listener.keys == keys[number:]


async def test_clock_moves_before(state: Any) -> None:
    """.clock is the position up to which events have been delivered; it is moved before each callback."""
    start = await state.data.clock()
    listener = await listen(state, "changes", since=start)
    assert listener.subscription.clock == start
    for _ in range(5):
        await change(state)
    await listener.until(await state.data.clock())
    assert listener.clocks == sorted(set(listener.clocks))
    for clock, key in zip(listener.clocks, listener.keys, strict=True):
        assert (key,) in await logged_after(state, clock - 1)
        assert (key,) not in await logged_after(state, clock)
    resumed = await listen(state, "changes", since=listener.clocks[1])
    await resumed.until(await state.data.clock())
    assert resumed.keys == listener.keys[2:]


async def test_stop(state: Any) -> None:
    """After ``stopConsuming`` was called none runs any more."""
    listener, other = await listen(state, "changes"), await listen(state, "changes")
    first = await change(state)
    await listener.until(await state.data.clock())
    stopped = listener.subscription.stopConsuming()
    second = await change(state)
    await stopped
    await other.until(await state.data.clock())
    assert (listener.keys, other.keys) == ([first], [first, second])
    await listener.subscription.stopConsuming()


async def test_stop_in_callback(state: Any) -> None:
    """A callback may end its own subscription: it hears nothing more, in the same batch either."""
    clock = await state.data.clock()
    for _ in range(5):
        await change(state)
    heard: list[tuple[str, ...]] = []

    def once(key: tuple[str, ...], message: Any) -> None:
        heard.append(key)
        subscription.stopConsuming()

    subscription = await state.data.startConsuming(once, {"since": clock}, ("changes",))
    other = await listen(state, "changes", since=clock)
    await other.until(await state.data.clock())
    await change(state)
    await other.until(await state.data.clock())
    assert len(heard) == 1


async def test_failing_callback(state: Any) -> None:
    """An error of a callback affects neither other subscriptions nor the next event."""
    calls: list[tuple[str, ...]] = []

    def fails(key: tuple[str, ...], message: Any) -> None:
        calls.append(key)
        raise ZeroDivisionError

    await state.data.startConsuming(fails, {}, ("changes",))
    listener = await listen(state, "changes")
    await change(state)
    await change(state)
    await listener.until(await state.data.clock())
    assert len(calls) == len(listener.heard) == 2


async def test_other_master(state: Any, second_master: Any) -> None:
    """Events for subscribers in every master of the installation: in one order, each once."""
    here, there = await listen(state, "changes"), await listen(second_master, "changes")
    await gatherResults([m.data.update.addChange(author=str(n)) for n in range(20) for m in (state, second_master)])
    clock = await state.data.clock()
    await here.until(clock)
    await there.until(clock)
    assert here.heard == there.heard
    assert len(set(here.keys)) == 40
    assert here.clocks == there.clocks


async def test_snapshot(state: Any) -> None:
    """master.data.snapshot(options, path) gives (data, clock): the data contains exactly the events up to it."""
    await change(state, "first")
    data, clock = await state.data.snapshot({}, ("changes",))
    assert data == await state.data.get({}, ("changes",))
    assert isinstance(clock, int)
    listener = await listen(state, "changes", since=clock)
    key = await change(state, "second")
    await listener.until(await state.data.clock())
    assert listener.keys == [key]


async def test_watch(state: Any) -> None:
    """An object with .data, .clock and .stopConsuming()."""
    await change(state, "first")
    listener = await watch(state, "changes", fields=["author"])
    assert listener.subscription.data == [{"author": "first"}]
    assert listener.subscription.clock == await state.data.clock()
    key = await change(state)
    await listener.until(await state.data.clock())
    assert listener.keys == [key]
    await listener.subscription.stopConsuming()
    await change(state)
    await next_turn()
    assert listener.keys == [key]


async def test_exact_between_masters(state: Any, second_master: Any) -> None:
    """A dump of current state plus changes to that state, without missing or duplicating messages: exact."""
    calls = [m.data.update.addChange(author=str(n)) for n in range(30) for m in (state, second_master)]
    watchers = [await watch(m, "changes") for _ in range(10) for m in (state, second_master)]
    await gatherResults(calls)
    final = sorted(found["changeid"] for found in await state.data.get({}, ("changes",)))
    for watcher in watchers:
        await watcher.until(await state.data.clock())
        seen = [found["changeid"] for found in watcher.subscription.data]
        seen += [message["changeid"] for _, message in watcher.heard]
        assert sorted(seen) == final


async def test_too_old(state: Any) -> None:
    """A ``since`` that the log no longer holds: SinceTooOldError. trimEvents(0) removes all."""
    clock = await state.data.clock()
    await change(state)
    trimmed = await state.data.update.trimEvents(0)
    assert trimmed >= clock
    with pytest.raises(SinceTooOldError):
        await state.data.startConsuming(lambda key, message: None, {"since": clock}, ("changes",))
    listener = await listen(state, "changes", since=await state.data.clock())
    key = await change(state)
    await listener.until(await state.data.clock())
    assert listener.keys == [key]


async def test_asleep_for_too_long(state: Any, second_master: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not missed: who slept until the log was trimmed past it ends its subscriptions, and forgets what it kept."""
    uid = await state.db.users.findUserByAttr("al", "email", "al@example.org")
    assert (await second_master.db.users.getUser(uid))["identifier"] == "al"
    listener, persistent, ahead = await listen(second_master, "changes"), Listener(), Listener()
    persistent.subscription = await second_master.mq.startConsuming(persistent, ("changes", None, "new"), "persistent")
    lost: list[bool] = []
    listener.subscription.on_lost = lambda: lost.append(True)
    tail = second_master.mq.tail
    with monkeypatch.context() as asleep:
        asleep.setattr(tail, "wake", lambda: None)
        while tail._reading or tail._reading_soon is not None:  # woken before it fell asleep
            await next_turn()
        await change(state)
        await state.db.users.updateUser(uid, identifier="alice")
        await state.data.update.trimEvents(0)
        ahead.subscription = await second_master.data.startConsuming(
            ahead, {"since": await state.data.clock()}, ("changes",)
        )
    key = await change(state)
    second_master.mq.tail.wake()
    await ahead.until(await state.data.clock())
    assert ahead.keys == [key]
    assert (lost, listener.heard, listener.subscription.stopped) == ([True], [], True)
    assert (persistent.heard, persistent.subscription.stopped) == ([], True)
    assert (await second_master.db.users.getUser(uid))["identifier"] == "alice"
    await state.db.users.updateUser(uid, identifier="alison")  # what it keeps follows the log again
    clock = await state.data.clock()
    await ahead.until(clock)
    assert (await second_master.db.users.getUser(uid))["identifier"] == "alison"


async def test_trim_keeps(state: Any) -> None:
    """trimEvents(seconds) removes events older than that."""
    clock = await state.data.clock()
    key = await change(state)
    await state.data.update.trimEvents(24 * 3600)
    listener = await listen(state, "changes", since=clock)
    await listener.until(await state.data.clock())
    assert listener.keys == [key]
    for value, error in (("1", TypeError), (None, TypeError), (-1, ValueError)):
        with pytest.raises(error, match="seconds"):
            await state.data.update.trimEvents(value)


async def test_trim_by_size(state: Any) -> None:
    """trimEvents(seconds, keep) removes all but the newest ``keep`` events, young ones too."""
    await change(state)
    before = await state.data.clock()
    key = await change(state)
    newest = await state.data.clock()
    assert await state.data.update.trimEvents(24 * 3600, newest - before) == before
    listener = await listen(state, "changes", since=before)
    await listener.until(newest)
    assert listener.keys == [key]
    with pytest.raises(SinceTooOldError):
        await state.data.startConsuming(lambda key, message: None, {"since": before - 1}, ("changes",))
    for value, error in (("1", TypeError), (-1, ValueError)):
        with pytest.raises(error, match="keep"):
            await state.data.update.trimEvents(1, value)


async def test_persistent_consumer(state: Any) -> None:
    """A consumer with a name goes on where it was; one that was away for too long is told so, once."""
    listener = Listener()
    consume = partial(state.mq.startConsuming, filter=("changes", None, "new"), persistent_name="consumer")
    listener.subscription = await consume(listener)
    with pytest.raises(ValueError, match="persistent_name"):
        await consume(listener)
    first = await change(state)
    await listener.until(await state.data.clock())
    await listener.subscription.stopConsuming()
    second = await change(state)
    assert listener.keys == [first]
    listener.subscription = await consume(listener)
    await listener.until(await state.data.clock())
    assert listener.keys == [first, second]
    await listener.subscription.stopConsuming()
    await change(state)
    await state.data.update.trimEvents(0)
    with pytest.raises(CursorTooOldError, match="persistent_name"):
        await consume(listener)
    listener.subscription = await consume(listener)
    last = await change(state)
    await listener.until(await state.data.clock())
    assert listener.keys == [first, second, last]
    await listener.subscription.stopConsuming()


async def test_persistent_consumer_begins_again_at_once(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has heard it does not hear again, even if its position is still on its way to the database."""
    listener = Listener()
    consume = partial(state.mq.startConsuming, filter=("changes", None, "new"), persistent_name="consumer")
    listener.subscription = await consume(listener)
    monkeypatch.setattr(state.mq, "_save_position", lambda name, seq: None)
    first = await change(state)
    await listener.until(await state.data.clock())
    await listener.subscription.stopConsuming()
    listener.subscription = await consume(listener)
    second = await change(state)
    await listener.until(await state.data.clock())
    assert listener.keys == [first, second]
    await listener.subscription.stopConsuming()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"filters": {}}, "filters"),
        ({"limit": 1}, "limit"),
        ({"since": "1"}, "since"),
        ({"since": -1}, "since"),
        ({"since": True}, "since"),
        ({"since": 1.0}, "since"),
        ({"since": 2**62}, "since"),
        ("since", "options"),
    ],
    ids=repr,
)
async def test_options(master: Any, options: Any, named: str) -> None:
    """startConsuming takes the option ``since`` and nothing else (InvalidOptionError)."""
    with pytest.raises(InvalidOptionError, match=named):
        await master.data.startConsuming(lambda key, message: None, options, ("changes",))
    await master.data.startConsuming(lambda key, message: None, None, ("changes",))


async def test_idle(state: Any, second_master: Any) -> None:
    """An idle subscription's .clock reaches the installation's clock within ten seconds."""
    idle = await listen(state, "changes", 2**40)
    await change(second_master)
    clock = await second_master.data.clock()
    await idle.until(clock)
    assert idle.heard == []


async def test_refused_is_not_announced(state: Any) -> None:
    """An update is one transaction that writes the state and the events: either both are there or neither is."""
    listener = await listen(state, "changes")
    calls = [state.data.update.addChange(author=str(n) if n % 3 else 7) for n in range(9)]
    for number, call in enumerate(calls):
        if number % 3:
            await call
        else:
            with pytest.raises(TypeError):
                await call
    await listener.until(await state.data.clock())
    assert [message["author"] for _, message in listener.heard] == [str(n) for n in range(9) if n % 3]


async def test_produce(state: Any) -> None:
    """The callback interface is that of the mq: produce announces to every listener whose filter matches."""
    heard: list[Any] = []
    subscription = await state.mq.startConsuming(lambda key, m: heard.append((key, m)), ("a", None, "c"))
    for key in (("a", "b", "c"), ("a", "b"), ("a", "b", "d"), ("a", "x", "c")):
        await state.mq.produce(key, {"key": list(key)})
    while subscription.clock < await state.data.clock():
        await next_turn()
    assert heard == [(key, {"key": list(key)}) for key in (("a", "b", "c"), ("a", "x", "c"))]


async def test_big_numbers(state: Any) -> None:
    """Values of any size survive: a message is the JSON that was announced, and its neighbours are not touched."""
    listener = Listener()
    listener.subscription = await state.mq.startConsuming(listener, ("a",))
    await gatherResults([state.mq.produce(("a",), {"n": number}) for number in (2**70, 1, -(2**64))])
    await listener.until(await state.data.clock())
    assert sorted(message["n"] for _, message in listener.heard) == [-(2**64), 1, 2**70]


async def test_events_are_what_is_read(state: Any) -> None:
    """A message is the resource as a reader finds it then, every attribute of it."""
    running = await run_build(state)
    changeid = await state.data.update.addChange(author="a", properties={"p": 1})
    events = await state.db.pool.read(thdEventsAfter, 0, 1000)
    for path in (
        ("buildrequests", running.brid),
        ("builds", running.buildid),
        ("steps", running.stepid),
        ("logs", running.logid),
        ("changes", changeid),
    ):
        plural, identifier = path
        found = await state.data.get({}, path)
        about = [e for e in events if any(k.rpartition("/")[0] == f"{plural}/{identifier}" for k in e.keys)]
        message = about[-1].message
        assert message == {name: found[name] for name in message}, path
    assert [e.message["claimed"] for e in events if e.keys and e.keys[0].startswith("buildrequests/")] == [False, True]
