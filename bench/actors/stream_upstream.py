"""The server of upstream Buildbot, in its own virtual environment, as ``http_upstream`` starts it.

VENV/bin/python -P stream_upstream.py ROOT DATABASE_URL DIRECTORY PORT
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import buildbot  # upstream's: ROOT comes into sys.path behind it

if not Path(str(buildbot.__file__)).is_relative_to(sys.prefix):
    sys.exit(f"{buildbot.__file__} is not the package of {sys.prefix}")
sys.path.append(sys.argv[1])

from twisted.internet.defer import ensureDeferred
from twisted.python import log

from bench import samples
from bench.actors.http_upstream import Server
from bench.actors.stream import KEY, MESSAGE, Jobs, obeys, reactor


class UpstreamJobs(Jobs):
    """The jobs, as upstream does them."""

    def __init__(self, master: Any) -> None:
        super().__init__()
        self._master = master
        self._buildid = 0

    async def obey(self, do: str, **arguments: Any) -> dict[str, Any]:
        """As ``Jobs.obey``, with a build."""
        if not self._buildid and do in ("update", "offer"):
            updates = self._master.data.updates
            builderid = await updates.findBuilderId("bench")
            _, brids = await updates.addBuildset(
                waited_for=False,
                scheduler="s",
                sourcestamps=[dict(samples.STAMP)],
                reason="bench",
                builderids=[builderid],
            )
            brid = brids[builderid]
            assert await updates.claimBuildRequests([brid])
            self._buildid, _ = await updates.addBuild(builderid=builderid, buildrequestid=brid, workerid=1)
        return await super().obey(do, **arguments)

    async def consume(self, key: tuple[str | None, ...]) -> Callable[[], Any]:
        """As ``Jobs.consume``."""
        stop: Callable[[], Any] = (await self._master.mq.startConsuming(self._hear, key)).stopConsuming
        return stop

    def dispatch(self) -> None:
        """Upstream's queue hands events on at once and keeps nothing."""
        self._master.mq.produce(KEY, MESSAGE)

    def produce(self, key: tuple[str, ...], message: Any) -> Awaitable[Any]:
        """As ``Jobs.produce``."""
        produced: Awaitable[Any] = self._master.mq.produce(key, message)
        return produced

    def update(self, text: str) -> Awaitable[Any]:
        """As ``Jobs.update``."""
        updated: Awaitable[Any] = self._master.data.updates.setBuildStateString(self._buildid, text)
        return updated


class StreamServer(Server):
    """The master, and the jobs that it is asked for."""

    def _read(self) -> None:
        obey = obeys(UpstreamJobs(self._master), self._lines)
        for command in self._lines.commands():
            reactor.callFromThread(obey, **command)
        os._exit(0)


if __name__ == "__main__":
    _, _root, _url, _directory, _port = sys.argv
    os.makedirs(_directory, exist_ok=True)
    log.startLogging(open(os.path.join(_directory, "twistd.log"), "a"), setStdout=False)  # noqa: SIM115 - for good
    server = StreamServer(_url, _directory, _port)
    reactor.callWhenRunning(lambda: ensureDeferred(server.run()))
    reactor.run()
