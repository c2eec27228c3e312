"""What the process layer needs of a master besides its state layer, and waiting for what happens in the background."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import Clock, deferLater

from buildbot.process.workers.clientports import ClientPorts
from buildbot.process.workers.clients import Clients

real_reactor: Any = _reactor


class Running:
    """A master's state layer with a base directory and, if given, another reactor."""

    def __init__(self, master: Any, basedir: Path | None = None, reactor: Any = None) -> None:
        self.db, self.mq, self.data = master.db, master.mq, master.data
        self.name, self.masterid = master.name, master.masterid
        self.httpservice = master.httpservice
        self.reactor = reactor if reactor is not None else master.reactor
        self.client_ports = ClientPorts(self.reactor, Clients())
        self.basedir = basedir

    def wall_seconds(self) -> float:
        """The time of the test's clock, if it has one."""
        return float(self.reactor.seconds()) if isinstance(self.reactor, Clock) else time.time()

    def is_late(self) -> bool:
        return False


async def until(check: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer of ``check``, asked once per turn of the reactor; the test's time limit ends it."""
    while not (answer := await check()):
        await deferLater(real_reactor, 0, lambda: None)
    return answer
