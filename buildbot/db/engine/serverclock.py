"""The database's clock, the only one that masters share, without a statement in each transaction."""

from __future__ import annotations

import time

from sqlalchemy.engine import Connection

from buildbot.db.dialects.base import Dialect
from buildbot.util import clock

#: the oldest measurement that is used, in seconds: the server's clock may be set, too
MEASURE_S = 10.0


def steady() -> float:
    """Seconds of a monotonic clock, which also counts while the machine sleeps, on systems with such a clock."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class ServerClock:
    """The time of a database server.

    It is measured in a transaction now and then; between, steady seconds are added, so that a wrong wall clock of this
    machine does not matter. If the database is a file of this machine, its wall clock is used.
    """

    def __init__(self, server: Dialect) -> None:
        self._server = server
        #: the server's time, and the steady second of that measurement
        self._measured: tuple[float, float] | None = None

    def now(self) -> int:
        """Seconds since the epoch; by this machine's clock until the first measurement."""
        measured = self._measured
        if measured is None:
            return clock.now()
        server, at = measured
        return int(server + steady() - at)

    def keep(self, conn: Connection) -> None:
        """Measure again, if the last measurement is old; in a thread."""
        measured = self._measured
        if not self._server.remote or (measured is not None and steady() - measured[1] < MEASURE_S):
            return
        begin = steady()
        server = self._server.server_time(conn)
        end = steady()
        # the server answered between the two readings
        self._measured = server, (begin + end) / 2
