"""The cost of an event without listeners on this master."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.mq import log
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.util import jsontext
from tests.support.building import add_requests, run_build
from tests.support.events import next_turn
from tests.support.reactor import run


@pytest.fixture(name="following")
def follow(master: FakeMaster) -> FakeMaster:
    """A master whose caches follow the events."""

    async def begin() -> None:
        await master._follow()
        await next_turn()

    run(begin())
    return master


@pytest.fixture(name="parsed")
def count_parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bodies of events that were parsed."""
    parsed: list[str] = []

    class Counting:
        @staticmethod
        def loads(body: Any) -> Any:
            parsed.append(body)
            return jsontext.loads(body)

        encoded = staticmethod(jsontext.encoded)

    monkeypatch.setattr(log, "jsontext", Counting)
    return parsed


async def test_no_body_is_parsed_without_listeners(following: FakeMaster, parsed: list[str]) -> None:
    """A whole build goes by, changes and source stamps included, and only keys are looked at."""
    await run_build(following)
    await following.data.update.addChange(author="a", revision="r")
    assert parsed == []


async def test_a_body_is_parsed_once(following: FakeMaster, parsed: list[str]) -> None:
    """One parse for any number of listeners and keys; bodies of other events are not parsed."""
    heard: list[Any] = []
    for pattern in (("buildsets", None, "new"), ("buildsets", "1", None), ("buildsets", None, None)):
        for _ in range(3):
            await following.mq.startConsuming(lambda key, message: heard.append(message), pattern)
    await next_turn()
    await add_requests(following, "a", "b")
    assert len(heard) == 9
    assert all(message is heard[0] for message in heard)
    assert len(parsed) == 1


async def test_a_cache_that_holds_nothing_does_not_look(following: FakeMaster, parsed: list[str]) -> None:
    """A cache with entries gets the source stamps of a new buildset that may have changed."""
    _, brids = await add_requests(following, "a")
    assert parsed == []
    request = await following.data.get({}, ("buildrequests", brids[0]))
    stamps = (await following.data.get({}, ("buildsets", request["buildsetid"])))["sourcestamps"]
    held = await following.db.sourcestamps.getSourceStamp(stamps[0]["ssid"])
    assert held is await following.db.sourcestamps.getSourceStamp(stamps[0]["ssid"])
    await add_requests(following, "a")
    assert len(parsed) == 1
    assert held is not await following.db.sourcestamps.getSourceStamp(stamps[0]["ssid"])
