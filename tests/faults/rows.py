"""The faults. Each is done and undone by one function, which returns when it is over."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.faults.farm import Farm
from tests.support.clocks import fake_time

SERVERS = ("postgresql", "mysql")
ALL = ("sqlite", *SERVERS)


class NotHereError(Exception):
    """This machine cannot make the fault; the message says what it would need."""


@dataclass(frozen=True)
class Row:
    """A fault.

    Attributes:
        name: for ``--rows``.
        title: for people.
        act: makes it and takes it back.
        databases: on which it can be made.
        around: what it needs before and after the whole row.
        one_stays_away: the first master does not work afterwards, so the second one is measured.
    """

    name: str
    title: str
    act: Callable[[Farm], None]
    databases: tuple[str, ...] = ALL
    around: Callable[[Farm], object] | None = None
    one_stays_away: bool = False


def _wait(farm: Farm, seconds: float) -> None:
    """Let a fault last."""
    time.sleep(seconds * farm.settings.scale)


def _nothing(farm: Farm) -> None:
    _wait(farm, 10)


def _database_killed(farm: Farm) -> None:
    server = farm.database.server
    assert server is not None
    server.kill()
    _wait(farm, 5)
    server.start()


def _database_restarted(farm: Farm) -> None:
    assert farm.database.server is not None
    farm.database.server.restart_in_order()


def _connections_killed(farm: Farm) -> None:
    for _ in range(6):
        farm.database.kill_connections()
        _wait(farm, 2)


def _no_connections(farm: Farm) -> None:
    with farm.database.no_connections():
        _wait(farm, 20)


def _master_killed(farm: Farm) -> None:
    farm.masters[0].kill()
    farm.masters[0].start()


def _master_killed_often(farm: Farm) -> None:
    for _ in range(5):
        _master_killed(farm)
        _wait(farm, 2)


def _master_gone(farm: Farm) -> None:
    farm.masters[0].kill()
    time.sleep(farm.settings.beyond_expiry_s)


@contextmanager
def _back_again(farm: Farm) -> Iterator[None]:
    yield
    farm.masters[0].start()
    farm.await_workers()


def _master_suspended(farm: Farm) -> None:
    farm.masters[0].signal(signal.SIGSTOP)
    time.sleep(farm.settings.beyond_expiry_s)
    farm.masters[0].signal(signal.SIGCONT)


def _network_cut(farm: Farm) -> None:
    assert farm.proxy is not None
    farm.proxy.pull()
    time.sleep(farm.settings.beyond_expiry_s)
    farm.proxy.plug_in()


def _workers_suspended(farm: Farm) -> None:
    farm.masters[0].agents.signal(signal.SIGSTOP)
    _wait(farm, 60)
    farm.masters[0].agents.signal(signal.SIGCONT)


def _workers_killed(farm: Farm) -> None:
    farm.masters[0].agents.kill()
    farm.masters[0].agents.start()


def _disk_full(farm: Farm) -> None:
    if not farm.database.is_small:
        raise NotHereError("mounting a small file system is not permitted here")
    with farm.database.full_disk():
        _wait(farm, 25)


@contextmanager
def _settable_clock(farm: Farm) -> Iterator[None]:
    """The first master has a clock of its own, or both, if theirs is the database's; how far it is set is in a file."""
    found = fake_time(farm.directory)
    if found is None:
        raise NotHereError("libfaketime is not installed (Debian: libfaketime)")
    masters = farm.masters if farm.database.backend == "sqlite" else farm.masters[:1]
    for master in masters:
        master.kill()
        master.start(**found[1])
    farm.await_workers()
    yield
    for master in masters:
        master.kill()
        master.start()
    farm.await_workers()


def _clock_set(farm: Farm) -> None:
    for offset in ("+3600", "+0"):
        (farm.directory / "clock").write_text(f"{offset}\n")
        _wait(farm, 40)


ROWS = (
    Row("nothing", "nothing", _nothing),
    Row("database-killed", "database killed -9, back after 5 s", _database_killed, SERVERS),
    Row("database-restarted", "database shut down fast and started", _database_restarted, SERVERS),
    Row("connections-killed", "all connections killed 6 times in 12 s", _connections_killed, SERVERS),
    Row("no-connections", "no connection to be had for 20 s", _no_connections, SERVERS),
    Row("master-killed", "one master killed -9, started again", _master_killed),
    Row("master-killed-often", "one master killed -9 five times", _master_killed_often),
    Row(
        "master-gone", "one master killed -9, the other goes on", _master_gone, around=_back_again, one_stays_away=True
    ),
    Row("network-cut", "network of one master cut silently", _network_cut, SERVERS),
    Row("master-suspended", "one master SIGSTOP", _master_suspended),
    Row("disk-full", "disk full for 25 s", _disk_full, ("sqlite",)),
    Row("clock-set", "clock of one master (SQLite: both) +1 h, then back", _clock_set, around=_settable_clock),
    Row("workers-suspended", "workers of one master SIGSTOP 60 s", _workers_suspended),
    Row("workers-killed", "workers of one master killed -9", _workers_killed),
)
BY_NAME = {row.name: row for row in ROWS}
