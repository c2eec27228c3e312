"""The answer to a COMMIT is lost on the way: the master finds out the outcome, and no transaction is applied twice."""

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
from tests.support.proxy import ProxiedConnection, Proxy, proxy_to
from tests.support.reactor import reactor
from tests.support.state import Database

#: statements of a transaction with writes
_WRITES = (b"tenfold_", b"UPDATE clock")
#: a look begins with ending the lost connection's session
_LOOKS = (b"pg_terminate_backend", b"'Uptime'")


class LoseOnce:
    """A proxy's rule for the first COMMIT, and for the first query that looks for its outcome."""

    def __init__(
        self,
        commit: Callable[[ProxiedConnection, bytes], None],
        look: Callable[[ProxiedConnection, bytes], None] = ProxiedConnection.send,
    ) -> None:
        self._commit = commit
        self._look = look
        self._lock = threading.Lock()
        self.lost = False
        self.looks = 0

    def __call__(self, connection: ProxiedConnection, said: bytes) -> bool:
        with self._lock:
            if b"COMMIT" in said and not self.lost and any(words in said for words in _WRITES):
                self.lost = True
                self._commit(connection, said)
                return True
            if self.lost and any(words in said for words in _LOOKS):
                self.looks += 1
                if self.looks == 1:
                    self._look(connection, said)
                    return True
            return False


def lose_answer(connection: ProxiedConnection, said: bytes) -> None:
    """Lose the answer: the bytes reach the server."""
    connection.cut()
    connection.send(said)
    connection.end()


def lose_all(connection: ProxiedConnection, said: bytes) -> None:
    """It does not."""
    connection.cut()
    connection.end()


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
    """The number of changes in the database."""
    return len(await state.data.get({"fields": ["changeid"]}, ("changes",)))


async def test_a_commit_whose_answer_is_lost(state: Any, remote_database: Database) -> None:
    """A COMMIT whose answer is lost was executed: the call succeeds, and subscribers get its event once."""
    heard: list[int] = []
    async with behind(remote_database) as (far, proxy):
        await far.data.startConsuming(lambda key, change: heard.append(change["changeid"]), {}, ("changes",))
        proxy.rule = rule = LoseOnce(lose_answer)
        first = await add(far)
        assert (await count(state), rule.looks > 0) == (1, True)
        second = await add(far)
        assert heard == [first, second]


async def test_a_commit_that_is_lost(state: Any, remote_database: Database) -> None:
    """A COMMIT that never reached the server: the transaction is run again."""
    async with behind(remote_database) as (far, proxy):
        proxy.rule = rule = LoseOnce(lose_all)
        await add(far)
        assert (await count(state), rule.looks > 0) == (1, True)


@pytest.mark.parametrize("first", ["commit", "look"])
async def test_a_commit_that_is_late(state: Any, remote_database: Database, first: str) -> None:
    """A COMMIT that is under way during the look: the look finds it, or has made it impossible."""
    held: list[tuple[ProxiedConnection, bytes]] = []

    def hold(connection: ProxiedConnection, said: bytes) -> None:
        connection.cut()
        held.append((connection, said))

    def look(connection: ProxiedConnection, said: bytes) -> None:
        if first == "look":
            connection.send(said)
        with suppress(OSError):  # the session has ended already
            late, commit = held[0]
            late.send(commit)
        if first == "commit":
            connection.send(said)

    async with behind(remote_database) as (far, proxy):
        proxy.rule = rule = LoseOnce(hold, look)
        await add(far)
        await add(far)
        assert (await count(state), rule.looks > 0) == (2, True)


@pytest.mark.parametrize("lose", [lose_answer, lose_all])
async def test_the_look_is_lost_too(
    state: Any, remote_database: Database, lose: Callable[[ProxiedConnection, bytes], None]
) -> None:
    """A look that fails is repeated, since its failure proves nothing."""
    async with behind(remote_database) as (far, proxy):
        proxy.rule = rule = LoseOnce(lose, lose_all)
        await add(far)
        assert (await count(state), rule.looks > 0) == (1, True)


@pytest.mark.parametrize("lose", [lose_answer, lose_all])
async def test_an_outcome_that_cannot_be_found_out(
    state: Any, remote_database: Database, lose: Callable[[ProxiedConnection, bytes], None]
) -> None:
    """If the log was trimmed beyond the lost COMMIT the call fails with that reason, and is not run again."""

    def trim_first(connection: ProxiedConnection, said: bytes) -> None:
        blockingCallFromThread(reactor, lambda: ensureDeferred(_others_go_on(state)))  # type: ignore[arg-type]
        connection.send(said)

    async with behind(remote_database) as (far, proxy):
        proxy.rule = LoseOnce(lose, trim_first)
        with pytest.raises(OutcomeUnknownError, match="lost during COMMIT"):
            await add(far)
        assert await count(state) == (lose is lose_answer)


async def _others_go_on(state: Any) -> int:
    """Use the number for another event, and trim the log beyond it."""
    await state.mq.produce(("others", "1", "said"), "go on")
    return int(await state.data.update.trimEvents(0))


async def test_only_announced(state: Any, remote_database: Database) -> None:
    """A transaction with an event only is told from another master's event of the same number."""
    heard = Listener()
    heard.subscription = await state.mq.startConsuming(heard, ("said", None, None))

    def other_first(connection: ProxiedConnection, said: bytes) -> None:
        blockingCallFromThread(reactor, state.mq.produce, ("said", "1", "x"), "other")
        connection.send(said)

    async with behind(remote_database) as (far, proxy):
        proxy.rule = LoseOnce(lose_all, other_first)
        await far.mq.produce(("said", "2", "x"), "mine")
        await heard.until(await state.data.clock())
        assert [message for _, message in heard.heard] == ["other", "mine"]
