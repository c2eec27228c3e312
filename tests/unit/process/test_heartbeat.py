"""The heartbeat: a master stores that it is alive, and notices when it could not."""

from __future__ import annotations

import pytest
from twisted.internet.defer import fail
from twisted.internet.task import Clock

from buildbot.process.heartbeat import Heartbeat
from buildbot.test.recording import Recording, now


class Beating:
    """A heartbeat whose time the test moves, a beat per second and death after ten."""

    def __init__(self) -> None:
        self.master = Recording()
        self.clock = self.master.reactor = Clock()
        self.given_up: list[str] = []
        self.fails: list[Exception] = []
        self.heartbeat = Heartbeat(self.master, self.give_up, beat_s=1, expiry_s=10)
        now(self.heartbeat.start())

    async def give_up(self) -> None:
        if self.fails:
            raise self.fails.pop()
        self.given_up.append("builds")


@pytest.fixture
def beating() -> Beating:
    return Beating()


def test_late(beating: Beating) -> None:
    """Its silence is measured from the last check-in that the database took."""
    assert (beating.heartbeat.silent_s, beating.heartbeat.is_late) == (0, False)
    beating.clock.advance(1)
    assert beating.heartbeat.silent_s == 0
    beating.master.data.update.masterActive = lambda: fail(OSError("no database"))
    for _ in range(5):
        beating.clock.advance(1)
    assert (beating.heartbeat.silent_s, beating.heartbeat.is_late) == (5, False)
    beating.clock.advance(1)
    assert beating.heartbeat.is_late
    del beating.master.data.update.masterActive
    beating.clock.advance(1)
    assert (beating.heartbeat.silent_s, beating.heartbeat.is_late) == (0, False)
    now(beating.heartbeat.stop())
    assert beating.heartbeat.silent_s is None


def test_declared_dead(beating: Beating) -> None:
    """The master gives up its builds before it begins anew, and tries that until it succeeds."""
    epoch = beating.master.db.epoch
    now(beating.master.db.masters.setMasterState(beating.master.masterid, False))
    beating.master.db.epoch = epoch  # others did it
    beating.fails.append(OSError("no database"))
    beating.clock.advance(1)
    assert (beating.given_up, beating.master.get("masters", beating.master.masterid)["active"]) == ([], False)
    beating.clock.advance(1)
    assert (beating.given_up, beating.master.get("masters", beating.master.masterid)["active"]) == (["builds"], True)
    beating.clock.advance(1)
    assert beating.given_up == ["builds"]


def test_timing_is_that_of_the_installation() -> None:
    """Unless it is said otherwise a master beats every ten seconds and is dead after sixty."""
    heartbeat = Heartbeat(Recording(), Beating().give_up)
    assert (heartbeat._beat_s, heartbeat._expiry_s) == (10, 60)
