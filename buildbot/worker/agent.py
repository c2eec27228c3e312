"""The agent of a `LocalWorker`: `buildbot-worker`'s own class, in a process that ends with its master.

It is run as a script, not imported. It reads one line of JSON from stdin: the arguments of `main`. The agent ends when
stdin is closed, by the master or by the end of the master's process.
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

#: the log in the agent's directory: the most bytes of a file, and the number of older files that are kept
LOG_BYTES, OLD_LOGS = 10_000_000, 5


class EndsWithMaster(_Protocol):  # type: ignore[misc]
    """Stops the reactor when stdin is closed."""

    def connectionLost(self, reason: object = None) -> None:
        """The master has ended, or stops the agent."""
        if reactor.running:
            reactor.stop()


def main(port: int, name: str, password: str, directory: str, keepalive_s: float) -> None:
    """Run an agent until stdin is closed, or the master tells it to end.

    Args:
        port: the master's port for agents, on the loopback interface.
        name, password: of the worker.
        directory: the agent's base directory; it is made if it does not exist.
        keepalive_s: seconds between the agent's keepalive messages.
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
