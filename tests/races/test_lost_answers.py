"""The answer to a COMMIT gets lost on the way: whether it happened is found out, and nothing is applied twice."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import blockingCallFromThread

from buildbot.db.dialects import dialect_for
from buildbot.db.exceptions import OutcomeUnknownError
from buildbot.master import openMaster
from tests.support.events import Listener
from tests.support.proxy import Proxy, Way, proxy_to
from tests.support.reactor import reactor
from tests.support.state import Database

#: what a group ends with
_WRITES = (b"tenfold_", b"UPDATE clock")
#: a look begins with ending the lost connection's session
_LOOKS = (b"pg_terminate_backend", b"'Uptime'")


class LoseOnce:
    """A rule: what becomes of the first COMMIT, and what of the first look for it."""

    def __init__(self, commit: Callable[[Way, bytes], None], look: Callable[[Way, bytes], None] = Way.send) -> None:
        self._commit = commit
        self._look = look
        self._lock = threading.Lock()
        self.lost = False
        self.looks = 0

    def __call__(self, way: Way, said: bytes) -> bool:
        with self._lock:
            if b"COMMIT" in said and not self.lost and any(words in said for words in _WRITES):
                self.lost = True
                self._commit(way, said)
                return True
            if self.lost and any(words in said for words in _LOOKS):
                self.looks += 1
                if self.looks == 1:
                    self._look(way, said)
                    return True
            return False


def lose_answer(way: Way, said: bytes) -> None:
    """It reaches the server."""
    way.cut()
    way.send(said)
    way.end()


def lose_all(way: Way, said: bytes) -> None:
    """It does not."""
    way.cut()
    way.end()


@asynccontextmanager
async def behind(database: Database) -> AsyncIterator[tuple[Any, Proxy]]:
    """A master that reaches the database through a proxy."""
    url = make_url(database.url or "")
    with proxy_to(str(url.host), int(url.port or dialect_for(str(url)).url.port or 0)) as proxy:
        far = await openMaster(url.set(port=proxy.port).render_as_string(hide_password=False), name="far")
        await far.data.update.masterActive()
        yield far, proxy
        await far.data.update.masterStopped()
        await far.close()


async def add(master: Any) -> int:
    """One write."""
    return int(await master.data.update.addChange(author="a", revision="r", repository="r"))


async def count(state: Any) -> int:
    """How often it is there."""
    return len(await state.data.get({"fields": ["changeid"]}, ("changes",)))


async def test_it_happened(state: Any, remote_database: Database) -> None:
    """It was committed: the caller hears of it, and so does who listens, once."""
    heard: list[int] = []
    async with behind(remote_database) as (far, proxy):
        await far.data.startConsuming(lambda key, change: heard.append(change["changeid"]), {}, ("changes",))
        proxy.rule = rule = LoseOnce(lose_answer)
        first = await add(far)
        assert (await count(state), rule.looks > 0) == (1, True)
        second = await add(far)
        assert heard == [first, second]


async def test_it_did_not_happen(state: Any, remote_database: Database) -> None:
    """It never reached the server: it is run again."""
    async with behind(remote_database) as (far, proxy):
        proxy.rule = rule = LoseOnce(lose_all)
        await add(far)
        assert (await count(state), rule.looks > 0) == (1, True)


@pytest.mark.parametrize("first", ["commit", "look"])
async def test_it_is_late(state: Any, remote_database: Database, first: str) -> None:
    """It is on its way while the caller looks: it has happened then, or cannot any more."""
    held: list[tuple[Way, bytes]] = []

    def hold(way: Way, said: bytes) -> None:
        way.cut()
        held.append((way, said))

    def look(way: Way, said: bytes) -> None:
        if first == "look":
            way.send(said)
        with suppress(OSError):  # the session has ended already
            late, commit = held[0]
            late.send(commit)
        if first == "commit":
            way.send(said)

    async with behind(remote_database) as (far, proxy):
        proxy.rule = rule = LoseOnce(hold, look)
        await add(far)
        await add(far)
        assert (await count(state), rule.looks > 0) == (2, True)


@pytest.mark.parametrize("lose", [lose_answer, lose_all])
async def test_the_look_is_lost_too(state: Any, remote_database: Database, lose: Callable[[Way, bytes], None]) -> None:
    """It is made again: a failed look says nothing."""
    async with behind(remote_database) as (far, proxy):
        proxy.rule = rule = LoseOnce(lose, lose_all)
        await add(far)
        assert (await count(state), rule.looks > 0) == (1, True)


@pytest.mark.parametrize("lose", [lose_answer, lose_all])
async def test_nobody_can_tell(state: Any, remote_database: Database, lose: Callable[[Way, bytes], None]) -> None:
    """The log was trimmed past it meanwhile: the caller is told, and it is not run again."""

    def trim_first(way: Way, said: bytes) -> None:
        blockingCallFromThread(reactor, lambda: ensureDeferred(_others_go_on(state)))  # type: ignore[arg-type]
        way.send(said)

    async with behind(remote_database) as (far, proxy):
        proxy.rule = LoseOnce(lose, trim_first)
        with pytest.raises(OutcomeUnknownError, match="lost during COMMIT"):
            await add(far)
        assert await count(state) == (lose is lose_answer)


async def _others_go_on(state: Any) -> int:
    """The number is somebody's, and the log does not reach back to it."""
    await state.mq.produce(("others", "1", "said"), "go on")
    return int(await state.data.update.trimEvents(0))


async def test_only_announced(state: Any, remote_database: Database) -> None:
    """What writes nothing but an event is known from another master's event of the same number."""
    heard = Listener()
    heard.subscription = await state.mq.startConsuming(heard, ("said", None, None))

    def other_first(way: Way, said: bytes) -> None:
        blockingCallFromThread(reactor, state.mq.produce, ("said", "1", "x"), "other")
        way.send(said)

    async with behind(remote_database) as (far, proxy):
        proxy.rule = LoseOnce(lose_all, other_first)
        await far.mq.produce(("said", "2", "x"), "mine")
        await heard.until(await state.data.clock())
        assert [message for _, message in heard.heard] == ["other", "mine"]
