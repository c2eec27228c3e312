"""A database server that crashes under load is waited for: nothing acknowledged is lost, nothing is written twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from buildbot.master import openMaster
from tests.support.databases import selected_backends
from tests.support.servers import own_server, wait_until_it_answers

CALLERS = 20
#: acknowledged writes between two crashes
BETWEEN = 150
CRASHES = 2


class Load:
    """Callers that add changes, each with a revision of its own, and note which were acknowledged."""

    def __init__(self, master: Any) -> None:
        self._master = master
        self.acknowledged: list[str] = []
        self.begun = 0
        self.stopping = False
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def reached(self, count: int) -> Deferred[None]:
        """Fires when a number of writes have been acknowledged."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append((count, waiter))
        return waiter

    async def call(self) -> None:
        """One caller; its failure ends every wait."""
        try:
            await self._call()
        except Exception as error:
            while self._waiting:
                self._waiting.pop()[1].errback(error)
            raise

    async def _call(self) -> None:
        while not self.stopping:
            self.begun += 1
            revision = f"r{self.begun}"
            await self._master.data.update.addChange(author="a", revision=revision, repository="r")
            self.acknowledged.append(revision)
            for count, waiter in list(self._waiting):
                if len(self.acknowledged) >= count:
                    self._waiting.remove((count, waiter))
                    waiter.callback(None)


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in selected_backends() if b != "sqlite"])
async def test_killed_under_load(backend: str) -> None:
    """Transient failures are retried, lost answers resolved by looking, and nothing is applied twice."""
    with own_server(backend) as server:
        wait_until_it_answers(server)
        master = await openMaster(server.url, upgrade=True)
        await master.data.update.masterActive()
        heard: list[int] = []
        subscription = await master.data.startConsuming(
            lambda key, change: heard.append(change["changeid"]), {}, ("changes",)
        )
        load = Load(master)
        callers = [ensureDeferred(load.call()) for _ in range(CALLERS)]
        for crash in range(1, CRASHES + 1):
            await load.reached(BETWEEN * crash)
            server.kill()
            server.start()
        await load.reached(BETWEEN * (CRASHES + 1))
        load.stopping = True
        await gatherResults(callers)

        changes = await master.data.get({"fields": ["changeid", "revision"], "order": ["changeid"]}, ("changes",))
        stored = Counter(change["revision"] for change in changes)
        assert set(load.acknowledged) <= set(stored)
        assert max(stored.values()) == 1
        # and the stream had an event of each, once (in the order of the commits, which is not that of the ids)
        assert sorted(heard) == [change["changeid"] for change in changes]
        await subscription.stopConsuming()
        await master.close()
