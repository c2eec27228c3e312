"""The database's clock, computed between measurements."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.db.engine import serverclock
from buildbot.db.engine.serverclock import MEASURE_S, ServerClock
from buildbot.util import clock


class Server:
    """A database with a clock of its own."""

    remote = True

    def __init__(self) -> None:
        self.time = 1_000_000.25
        self.asked = 0

    def server_time(self, conn: Any) -> float:
        """As ``Dialect.server_time``."""
        self.asked += 1
        return self.time


def test_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """It advances by the monotonic clock, not by this machine's wall clock, and is measured again from time to time."""
    seconds = [50.0]
    monkeypatch.setattr(serverclock, "steady", lambda: seconds[0])
    monkeypatch.setattr(clock, "now", lambda: 7)
    server = Server()
    told = ServerClock(server)  # type: ignore[arg-type]
    assert told.now() == 7
    told.keep(None)  # type: ignore[arg-type]
    assert told.now() == 1_000_000
    monkeypatch.setattr(clock, "now", lambda: 3600)
    seconds[0] += MEASURE_S - 1
    told.keep(None)  # type: ignore[arg-type]
    assert (told.now(), server.asked) == (1_000_009, 1)
    seconds[0] += 2
    server.time -= 100  # it was set back
    told.keep(None)  # type: ignore[arg-type]
    assert (told.now(), server.asked) == (999_900, 2)


def test_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has no clock but this machine's, which is asked each time."""
    server = Server()
    server.remote = False
    told = ServerClock(server)  # type: ignore[arg-type]
    told.keep(None)  # type: ignore[arg-type]
    monkeypatch.setattr(clock, "now", lambda: 3600)
    assert (told.now(), server.asked) == (3600, 0)
