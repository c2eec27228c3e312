"""The server of this project: ``python -m bench.actors.stream_tenfold DIRECTORY``, a whole master."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import ensureDeferred

from bench import samples
from bench.actors.http_tenfold import Server
from bench.actors.stream import KEY, MESSAGE, Jobs, obeys, reactor
from buildbot.mq.log import Event
from buildbot.util import jsontext


class TenfoldJobs(Jobs):
    """The jobs, as this project does them."""

    def __init__(self, master: Any) -> None:
        super().__init__()
        self._master = master
        self._buildid = 0
        self._body = jsontext.encoded(MESSAGE)

    async def obey(self, do: str, **arguments: Any) -> dict[str, Any]:
        """As ``Jobs.obey``, with a build."""
        if not self._buildid and do in ("update", "offer"):
            update = self._master.data.update
            _, brids = await update.addBuildset(
                sourcestamps=[samples.STAMP], reason="bench", scheduler="s", builderNames=["bench"]
            )
            assert await update.claimBuildRequests(list(brids.values()))
            self._buildid = await update.newBuild(next(iter(brids.values())))
        return await super().obey(do, **arguments)

    async def consume(self, key: tuple[str | None, ...]) -> Callable[[], Any]:
        """As ``Jobs.consume``."""
        stop: Callable[[], Any] = (await self._master.mq.startConsuming(self._hear, key)).stopConsuming
        return stop

    def dispatch(self) -> None:
        """What the tail of the log does with each event once it is committed, its message read from JSON."""
        self._master.mq._dispatch(Event(sys.maxsize, ("/".join(KEY),), self._body))

    async def offer(self, rate: int, seconds: float) -> dict[str, Any]:
        """As ``Jobs.offer``, with the times at which the numbers up to some were about to be written."""
        outbox, numbered = self._master.db.pool.groups.outbox, []
        append = outbox.append

        def noted(*arguments: Any) -> Any:
            begun = time.perf_counter()
            committed = append(*arguments)  # may commit, too
            numbered.append((committed.last, begun))
            return committed

        outbox.append = noted
        try:
            return {**await super().offer(rate, seconds), "numbered": numbered}
        finally:
            outbox.append = append

    def produce(self, key: tuple[str, ...], message: Any) -> Awaitable[Any]:
        """As ``Jobs.produce``."""
        produced: Awaitable[Any] = self._master.mq.produce(key, message)
        return produced

    def update(self, text: str) -> Awaitable[Any]:
        """As ``Jobs.update``."""
        updated: Awaitable[Any] = self._master.data.update.setBuildStateString(self._buildid, text)
        return updated


class StreamServer(Server):
    """The master, and the jobs that it is asked for."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self._obeys = obeys(TenfoldJobs(self._master), self._lines)

    def _obey(self, *arguments: Any, **command: Any) -> None:
        self._obeys(**command)


if __name__ == "__main__":
    server = StreamServer(sys.argv[1])
    reactor.callWhenRunning(lambda: ensureDeferred(server.run()))
    reactor.run()
