"""The server of upstream Buildbot, in its own virtual environment.

    VENV/bin/python -P http_upstream.py ROOT DATABASE_URL DIRECTORY PORT

A whole master with the farm of ``bench/http_data.py`` configured. Says when it is up, then answers ``statements``.
ROOT is the checkout; it may come into ``sys.path`` only behind upstream's package, which has the name of ours.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import buildbot  # upstream's: see below

if not Path(str(buildbot.__file__)).is_relative_to(sys.prefix):
    sys.exit(f"{buildbot.__file__} is not the package of {sys.prefix}")
sys.path.append(sys.argv[1])

import sqlalchemy
from twisted.internet import reactor as _reactor
from twisted.internet.defer import ensureDeferred
from twisted.python import log
from zope.interface import implementer

from bench.actors.lines import Lines

reactor: Any = _reactor


def _upstream(module: str) -> Any:
    return importlib.import_module(f"buildbot.{module}")


class Server:
    """The master, and what the controller may ask of it."""

    def __init__(self, url: str, directory: str, port: str) -> None:
        self._lines = Lines()
        self._statements = 0
        plugins = _upstream("plugins")
        worker, util = plugins.worker, plugins.util
        config = {
            "multiMaster": True,
            "buildbotNetUsageData": None,
            "db_url": url,
            "buildbotURL": f"http://127.0.0.1:{port}/",
            "www": {"port": f"tcp:{port}:interface=127.0.0.1", "plugins": {}},
            "protocols": {"pb": {"port": "tcp:0:interface=127.0.0.1"}},
            "workers": [worker.Worker(f"w{i}", "pw") for i in range(1, 51)],
            "builders": [
                util.BuilderConfig(
                    name=f"b{i}",
                    workernames=[f"w{(i - 1) % 50 + 1}"],
                    factory=util.BuildFactory(),
                    tags=[f"tag{i % 10 + 1}"],
                )
                for i in range(1, 101)
            ],
        }

        @implementer(_upstream("interfaces").IConfigLoader)
        class Loader:
            def loadConfig(self) -> Any:
                return _upstream("config.master").MasterConfig.loadFromDict(config, "<bench>")

        self._master = _upstream("master").BuildMaster(directory, reactor=reactor, config_loader=Loader())
        self._master.config.db.db_url = url
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", self._count)

    def _count(self, *arguments: Any) -> None:
        self._statements += 1

    async def run(self) -> None:
        """Start, and answer until the other side closes."""
        try:
            await self._master.startService()
            if not (self._master.masterid and self._master.running):
                raise RuntimeError("upstream's master did not start; see its log")
        except BaseException as error:
            self._lines.fail(error)
            os._exit(1)
        self._lines.reply({"pid": os.getpid()})
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for _ in self._lines.commands():
            self._lines.reply({"statements": self._statements})
        os._exit(0)


if __name__ == "__main__":
    _, _root, _url, _directory, _port = sys.argv
    os.makedirs(_directory, exist_ok=True)
    log.startLogging(open(os.path.join(_directory, "twistd.log"), "a"), setStdout=False)  # noqa: SIM115 - for good
    server = Server(_url, _directory, _port)
    reactor.callWhenRunning(lambda: ensureDeferred(server.run()))
    reactor.run()
