"""The agent of a `LocalWorker`: `buildbot-worker`'s own class, in a process that ends with its master.

Run as a script, not imported: it reads one line of JSON from stdin, what `main` takes. When stdin is closed, by the
master or with it, the agent ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from buildbot_worker.bot import Worker
from twisted.application.service import Application, IService
from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.python import log
from twisted.python.logfile import LogFile

reactor: Any = _reactor
_Protocol: Any = Protocol  # has no types

#: of the log in the agent's directory: bytes of a file, and how many older ones stay
LOG_BYTES, OLD_LOGS = 10_000_000, 5


class EndsWithMaster(_Protocol):  # type: ignore[misc]
    """Watches stdin."""

    def connectionLost(self, reason: object = None) -> None:
        """The master is gone, or wants this to end."""
        if reactor.running:
            reactor.stop()


def main(port: int, name: str, password: str, directory: str, keepalive_s: float) -> None:
    """Run an agent until stdin is closed, or the master tells it to end.

    Args:
        port: of this machine's loopback, where the master listens.
        name, password: of the worker.
        directory: the agent's, made if it is not there.
        keepalive_s: seconds between its signs of life.
    """
    base = Path(directory)
    (base / "info").mkdir(parents=True, exist_ok=True)
    file = LogFile.fromFullPath(str(base / "twistd.log"), rotateLength=LOG_BYTES, maxRotatedFiles=OLD_LOGS)
    log.startLogging(file, setStdout=False)
    application = Application("buildbot-worker")
    Worker("127.0.0.1", port, name, password, directory, keepalive_s).setServiceParent(application)
    service = IService(application)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    StandardIO(EndsWithMaster())
    reactor.run()


if __name__ == "__main__":
    main(**json.loads(sys.stdin.readline()))
