"""The database's clock, the only one that masters share, told without asking for it in each transaction."""

from __future__ import annotations

import time

from sqlalchemy.engine import Connection

from buildbot.db.dialects.base import Dialect
from buildbot.util import clock

#: how old a measurement may be: the server's clock may be set, too
MEASURE_S = 10.0


def steady() -> float:
    """Seconds that only go on, however this machine's clock is set; they count while it sleeps, where it tells that."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class ServerClock:
    """Tells the time of a database server.

    It is measured in a transaction now and then, and goes on by steady seconds in between, so that it does not matter
    if this machine's own clock is wrong, or set. Where the database is a file of this machine, that is its clock.
    """

    def __init__(self, server: Dialect) -> None:
        self._server = server
        #: the server's time, and the steady second at which it was that
        self._measured: tuple[float, float] | None = None

    def now(self) -> int:
        """Seconds since the epoch; by this machine's clock until the server was asked first."""
        measured = self._measured
        if measured is None:
            return clock.now()
        server, at = measured
        return int(server + steady() - at)

    def keep(self, conn: Connection) -> None:
        """Measure again, if that was some time ago; in a thread."""
        measured = self._measured
        if not self._server.remote or (measured is not None and steady() - measured[1] < MEASURE_S):
            return
        begin = steady()
        server = self._server.server_time(conn)
        end = steady()
        # the answer was made somewhere in between
        self._measured = server, (begin + end) / 2
