"""The server of this project: ``python -m bench.actors.http_tenfold DIRECTORY PORT``.

A whole master of a directory that holds a ``master.cfg``. Says when it is up, then answers: ``statements`` (executed so
far), ``reuse`` (whether answers and totals may be kept).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import ensureDeferred

from bench.actors.lines import Lines
from buildbot.master import BuildMaster

reactor: Any = _reactor


class Server:
    """The master, and what the controller may ask of it."""

    def __init__(self, directory: str) -> None:
        self._lines = Lines()
        self._master = BuildMaster(Path(directory), "master.cfg", reactor=reactor)

    async def run(self) -> None:
        """Start, and answer until the other side closes."""
        try:
            await self._master.start()
        except BaseException as error:
            self._lines.fail(error)
            os._exit(1)
        self._lines.reply({"pid": os.getpid()})
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for command in self._lines.commands():
            reactor.callFromThread(self._obey, **command)
        os._exit(0)

    def _obey(self, do: str, on: bool = True) -> None:
        if do == "reuse":
            www, config = self._master._www, self._master.config
            assert www is not None
            size = {} if on else {"rest_cache_bytes": 0}
            changed = www.reconfigure({**config.www, **size}, config.buildbotURL, config.title, config.titleURL)
            ensureDeferred(changed).addCallbacks(lambda _: self._lines.reply({}), self._failed)
        else:
            self._lines.reply({"statements": self._master.db.pool.statements})

    def _failed(self, failure: Any) -> None:
        self._lines.fail(failure.value)


if __name__ == "__main__":
    server = Server(sys.argv[1])
    reactor.callWhenRunning(lambda: ensureDeferred(server.run()))
    reactor.run()
