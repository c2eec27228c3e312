"""Subscriptions of one client: cursors, gaps, clients that do not keep up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildbot.data.exceptions import InvalidOptionError, SinceTooOldError
from buildbot.mq.log import Event
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www.stream.feeds import Feed
from tests.unit.www.clients import until


class Listener:
    """A feed that keeps its events: key, message, number."""

    def __init__(self, master: FakeMaster) -> None:
        self.got: list[tuple[str, Any, int]] = []
        self.losses = 0
        self.feed = Feed(master.data, self._take, self._lose)

    def _take(self, event: Event, key: tuple[str, ...]) -> None:
        self.got.append(("/".join(key), json.loads(event.body), event.seq))

    def _lose(self) -> None:
        self.losses += 1

    @property
    def keys(self) -> list[str]:
        return [key for key, _, _ in self.got]


async def announce(master: FakeMaster, *keys: str) -> int:
    """Let these happen; gives the clock after them."""
    for key in keys:
        await master.mq.produce(tuple(key.split("/")), {"of": key})
    return await clock(master)


async def clock(master: FakeMaster) -> int:
    newest, _ = await master.mq.clock()
    return newest


async def test_from_now(master: FakeMaster) -> None:
    """Without ``since`` a subscription begins now."""
    before = await announce(master, "builds/1/new")
    listener = Listener(master)
    assert await listener.feed.start("builds/*/*") == before
    await announce(master, "builds/2/new", "steps/2/new", "builds/3/new")
    await until(lambda: len(listener.got) == 2)
    assert listener.got == [
        ("builds/2/new", {"of": "builds/2/new"}, before + 1),
        ("builds/3/new", {"of": "builds/3/new"}, before + 3),
    ]


async def test_since(master: FakeMaster) -> None:
    """With ``since`` it begins with the event after it, and goes on live without a seam."""
    first = await announce(master, "builds/1/new")
    await announce(master, "builds/2/new", "builds/3/new")
    listener = Listener(master)
    assert await listener.feed.start("builds/*/*", first) == first
    assert listener.got == []
    await announce(master, "builds/4/new")
    await until(lambda: len(listener.got) == 3)
    assert listener.keys == ["builds/2/new", "builds/3/new", "builds/4/new"]


async def test_too_old(master: FakeMaster) -> None:
    """A clock whose events are gone is an error, and nothing is followed."""
    await announce(master, "builds/1/new", "builds/2/new")
    await master.data.update.trimEvents(0)
    listener = Listener(master)
    with pytest.raises(SinceTooOldError):
        await listener.feed.start("builds/*/*", 1)
    assert "builds/*/*" not in listener.feed


async def test_in_the_future(master: FakeMaster) -> None:
    """A clock of another installation is an error, never silence."""
    listener = Listener(master)
    with pytest.raises(InvalidOptionError):
        await listener.feed.start("builds/*/*", 10**6)


async def test_start_twice(master: FakeMaster) -> None:
    """Subscribing again changes nothing; with ``since`` it begins anew from there."""
    before = await clock(master)
    listener = Listener(master)
    await listener.feed.start("builds/*/*")
    await listener.feed.start("builds/*/*")
    await announce(master, "builds/1/new")
    await until(lambda: len(listener.got) == 1)
    await listener.feed.start("builds/*/*", before)
    await announce(master, "builds/2/new")
    await until(lambda: len(listener.got) == 3)
    assert listener.keys == ["builds/1/new", "builds/1/new", "builds/2/new"]


async def test_stop(master: FakeMaster) -> None:
    """A path that is not followed any more sends nothing; ``stop`` of one that is not followed gives False."""
    listener = Listener(master)
    await listener.feed.start("builds/*/*")
    await listener.feed.start("done/*/*")
    assert listener.feed.stop("builds/*/*") is True
    assert listener.feed.stop("builds/*/*") is False
    await announce(master, "builds/1/new", "done/1/new")
    await until(lambda: len(listener.got) == 1)
    assert listener.keys == ["done/1/new"]


async def test_one_event_per_matching_path(master: FakeMaster) -> None:
    """An event is sent once per matching subscription."""
    listener = Listener(master)
    await listener.feed.start("builds/*/*")
    await listener.feed.start("builds/1/*")
    await announce(master, "builds/1/new")
    await until(lambda: len(listener.got) == 2)
    assert listener.keys == ["builds/1/new"] * 2


async def test_suspend_and_resume(master: FakeMaster) -> None:
    """A client that sleeps holds no events, and misses and doubles none."""
    listener = Listener(master)
    await listener.feed.start("builds/*/*")
    await announce(master, "builds/1/new")
    await until(lambda: len(listener.got) == 1)
    listener.feed.suspend()
    await announce(master, "builds/2/new")
    assert listener.feed.bookmark() is None
    assert listener.keys == ["builds/1/new"]
    listener.feed.resume()
    await announce(master, "builds/3/new")
    await until(lambda: len(listener.got) == 3)
    assert listener.keys == ["builds/1/new", "builds/2/new", "builds/3/new"]
    assert listener.losses == 0


async def test_start_while_suspended(master: FakeMaster) -> None:
    """A client that subscribes while it is suspended gets the events when it resumes, from the clock of the answer."""
    listener = Listener(master)
    listener.feed.suspend()
    await listener.feed.start("builds/*/*")
    await announce(master, "builds/1/new")
    listener.feed.resume()
    await until(lambda: len(listener.got) == 1)
    assert listener.keys == ["builds/1/new"]


async def test_slept_too_long(master: FakeMaster) -> None:
    """If the log was trimmed meanwhile the client is dropped, never served with a gap."""
    listener = Listener(master)
    await listener.feed.start("builds/*/*")
    await announce(master, "builds/1/new")
    listener.feed.suspend()
    await announce(master, "builds/2/new", "builds/3/new")
    await master.data.update.trimEvents(0)
    await announce(master, "builds/4/new")
    listener.feed.resume()
    await until(lambda: listener.losses == 1)
    assert "builds/4/new" not in listener.keys


async def test_bookmark(master: FakeMaster) -> None:
    """The bookmark is how far all resumable subscriptions are; others have none."""
    listener = Listener(master)
    before = await clock(master)
    assert listener.feed.bookmark() is None
    await listener.feed.start("changes/*/*")
    assert listener.feed.bookmark() is None
    await listener.feed.start("builds/*/*", before)
    assert listener.feed.bookmark() == before
    after = await announce(master, "changes/1/new")
    await until(lambda: listener.feed.bookmark() == after)


async def test_close(master: FakeMaster) -> None:
    """A closed feed sends nothing."""
    listener, other = Listener(master), Listener(master)
    await listener.feed.start("builds/*/*")
    await other.feed.start("builds/*/*")
    listener.feed.close()
    await announce(master, "builds/1/new")
    await until(lambda: len(other.got) == 1)
    assert listener.got == []
