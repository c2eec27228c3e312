"""Subscriptions over the log: stopping, sleeping, and positions that outlive the process."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from buildbot.mq.connector import SAVE_INTERVAL_S
from buildbot.test.fake.fakedb import make_master
from tests.support.events import next_turn
from tests.support.reactor import run


def test_quiet_consumers_do_not_grow_old() -> None:
    """The position of a persistent consumer moves on though nothing that it listens to happens."""
    reactor = Clock()
    master = make_master(reactor)

    async def check() -> None:
        await master.mq.startConsuming(lambda key, message: None, ("nothing", None), persistent_name="quiet")
        reactor.advance(0)
        await master.data.update.addChange(author="a")
        reactor.advance(SAVE_INTERVAL_S)
        await master.data.update.trimEvents(0)
        master.mq.stop()
        await master.mq.start()
        master.mq._persistent.clear()  # another process
        again = await master.mq.startConsuming(lambda key, message: None, ("nothing", None), persistent_name="quiet")
        assert again.clock == await master.data.clock()

    try:
        run(check())
    finally:
        master.mq.stop()
        master.db.close()
    reactor.advance(0)
    assert not reactor.getDelayedCalls()


async def test_stop_in_the_middle(master: Any) -> None:
    """After the first call of ``stopConsuming`` returned no callback runs, be the rest of the group at hand or not."""
    heard: list[Any] = []

    def hear(key: tuple[str, ...], message: Any) -> None:
        heard.append(key)
        subscription.stopConsuming()
        subscription.stopConsuming()

    subscription = await master.mq.startConsuming(hear, ("buildrequests", None, "new"))
    await master.data.update.addBuildset(sourcestamps=[{}], builderNames=["a", "b", "c"])
    after = await master.data.clock()
    other: list[Any] = []
    late = await master.mq.subscribe([("changes", None, "new")], lambda event, key: other.append(key), after)
    await master.data.update.addChange(author="a")
    while not other:
        await next_turn()
    late.stopConsuming()
    assert len(heard) == 1


async def test_one_failing_callback(master: Any) -> None:
    """An error of a callback is logged; other callbacks are called."""
    heard: list[Any] = []

    def fails(key: tuple[str, ...], message: Any) -> None:
        raise ZeroDivisionError

    await master.mq.startConsuming(fails, ("changes", None, "new"))
    await master.mq.startConsuming(lambda key, message: heard.append(key), ("changes", None, "new"))
    await master.data.update.addChange(author="a")
    while not heard:
        await next_turn()
