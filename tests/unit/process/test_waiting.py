"""The requests that wait, the most urgent first, without reading the whole queue."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from buildbot.mq.log import Event
from buildbot.process import waiting
from buildbot.process.waiting import MOST, PAGE, WaitingRequests


class Queue:
    """The queue in the database, with the calls to it."""

    def __init__(self) -> None:
        self.rows: dict[int, Any] = {}
        self.reads: list[int] = []
        self.waiting = WaitingRequests(self.read)
        self.meanwhile: list[Any] = []

    def put(self, brid: int, builderid: int = 1, priority: int = 0) -> Any:
        row = {"buildrequestid": brid, "builderid": builderid, "priority": priority}
        self.rows[brid] = row | {"claimed": False, "complete": False}
        return self.rows[brid]

    async def read(self, builderids: Sequence[int], limit: int) -> list[Any]:
        self.reads.append(limit)
        found = [row for row in self.rows.values() if row["builderid"] in builderids]
        page = sorted(found, key=waiting.urgency_of)[:limit]
        for act in self.meanwhile:
            act()
        self.meanwhile = []
        return page

    def tell(self, row: dict[str, Any], name: str) -> None:
        key = f"builders/{row['builderid']}/buildrequests/{row['buildrequestid']}/{name}"
        self.waiting.hear(Event(1, (key,), json.dumps(row).encode()), tuple(key.split("/")))

    def add(self, brid: int, builderid: int = 1, priority: int = 0) -> None:
        """A new request, announced."""
        self.tell(self.put(brid, builderid, priority), "new")

    async def claim(self) -> int | None:
        """Take the most urgent one, as the distributor does."""
        request = await self.waiting.first()
        if request is None:
            return None
        brid = int(request["buildrequestid"])
        self.waiting.take(request)
        del self.rows[brid]
        self.waiting.settle(request)
        return brid


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def test_the_most_urgent_first(queue: Queue) -> None:
    """By priority, then by age, over all builders that are wanted."""
    for brid, builderid, priority in ((1, 1, 0), (2, 2, 5), (3, 1, 5), (4, 3, 9)):
        queue.put(brid, builderid, priority)
    queue.waiting.add(1)
    queue.waiting.add(2)
    assert [await queue.claim() for _ in range(4)] == [2, 3, 1, None]
    assert len(queue.reads) == 1


async def test_a_long_queue_costs_what_a_short_one_does(queue: Queue) -> None:
    """Of 20,000 requests for 1,000 builders a page is read; the next 200 agents that become free cost no statement."""
    for number in range(20_000):
        queue.put(number + 1, number % 1_000)
    for builderid in range(1_000):
        queue.waiting.add(builderid)
    assert [await queue.claim() for _ in range(PAGE)] == list(range(1, PAGE + 1))
    assert queue.reads == [PAGE]
    assert await queue.claim() == PAGE + 1
    assert len(queue.reads) == 2


async def test_announced_requests_cost_no_statement(queue: Queue) -> None:
    """Where all that waits is known, a new request takes its place by itself, in its order."""
    queue.waiting.add(1)
    assert await queue.claim() is None
    queue.reads.clear()
    queue.add(1)
    queue.add(2, priority=3)
    queue.tell(queue.put(3), "unclaimed")
    queue.tell(queue.put(1, priority=7), "update")
    assert [await queue.claim() for _ in range(4)] == [1, 2, 3, None]
    assert queue.reads == []


@pytest.mark.parametrize("name", ["claimed", "complete", "cancel", "deleted"])
async def test_requests_that_are_gone_are_not_given(queue: Queue, name: str) -> None:
    """Another master has the request, or it was cancelled: no claim is tried."""
    queue.waiting.add(1)
    queue.put(1)
    queue.put(2)
    assert await queue.waiting.first() == queue.rows[1]
    queue.tell(queue.rows.pop(1), name)
    assert [await queue.claim(), await queue.claim()] == [2, None]


async def test_a_builder_that_is_not_wanted(queue: Queue) -> None:
    """Its requests are not given and not kept; wanted again, they are read."""
    queue.put(1)
    queue.put(2, 2)
    queue.waiting.add(1)
    queue.waiting.add(2)
    assert await queue.waiting.first() == queue.rows[1]
    queue.waiting.remove(1)
    queue.add(3)
    assert [await queue.claim(), await queue.claim()] == [2, None]
    queue.waiting.add(1)
    assert [await queue.claim() for _ in range(3)] == [1, 3, None]


async def test_a_request_that_was_given_back_during_a_claim(queue: Queue) -> None:
    """Another master claimed a request and gave it back before our claim failed: it is found again."""
    queue.waiting.add(1)
    row = queue.put(1)
    request = await queue.waiting.first()
    assert request is not None
    queue.waiting.take(request)
    assert await queue.waiting.first() is None
    queue.tell(row, "claimed")
    queue.tell(row, "unclaimed")
    assert await queue.waiting.first() is None
    queue.waiting.settle(request)
    assert await queue.claim() == 1


async def test_more_than_is_kept(queue: Queue) -> None:
    """Of announced requests beyond `MOST` only the fact is kept; they are read when their turn comes."""
    queue.waiting.add(1)
    assert await queue.claim() is None
    for brid in range(1, MOST + 501):
        queue.add(brid)
    assert len(queue.waiting._known) == MOST
    assert [await queue.claim() for _ in range(MOST + 501)] == [*range(1, MOST + 501), None]


async def test_a_request_announced_during_a_read_is_not_lost(queue: Queue) -> None:
    """Also if there is no place for it."""
    queue.waiting.add(1)
    assert await queue.claim() is None
    for brid in range(1, MOST + 1):
        queue.add(brid)
    queue.waiting.add(2)
    queue.meanwhile.append(lambda: queue.add(MOST + 1))
    claimed = [await queue.claim() for _ in range(MOST + 2)]
    assert claimed == [*range(1, MOST + 2), None]


async def test_every_request_is_given_once_in_any_history(queue: Queue) -> None:
    """After any sequence of new, gone and returned requests each waiting one was given once."""
    chance = random.Random(4)
    given: list[int] = []
    brid = 0
    for builderid in range(5):
        queue.waiting.add(builderid)
    for _ in range(5_000):
        act = chance.random()
        if act < 0.5:
            brid += 1
            queue.add(brid, chance.randrange(5), chance.randrange(3))
        elif act < 0.55 and queue.rows:
            gone = chance.choice(list(queue.rows))
            queue.tell(queue.rows.pop(gone), "claimed")
            given.append(gone)
        elif act < 0.6:
            queue.waiting.remove(chance.randrange(5))
        elif act < 0.65:
            queue.waiting.add(chance.randrange(5))
        elif (claimed := await queue.claim()) is not None:
            given.append(claimed)
    for builderid in range(5):
        queue.waiting.add(builderid)
    while (claimed := await queue.claim()) is not None:
        given.append(claimed)
    assert sorted(given) == list(range(1, brid + 1))
