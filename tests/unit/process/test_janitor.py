"""The janitor: which rows it removes, when, in which master, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from buildbot.config.retention import Retention
from buildbot.process.janitor import INTERVAL_S, PAUSE_S, Janitor

DAY = 24 * 3600


class Updates:
    """Stands in for the updates: notes calls; each kind takes ``batches`` of them."""

    def __init__(self, batches: int) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.batches = batches

    def __getattr__(self, name: str) -> Any:
        def prune(*arguments: Any) -> Deferred[Any]:
            self.calls.append((name, *arguments))
            done = arguments[-1][1] + 1
            return succeed((0, done) if done < self.batches else None)

        return prune


class Data:
    """The part of the Data API that it needs."""

    def __init__(self, active: list[int], batches: int) -> None:
        self.active = active
        self.update = Updates(batches)

    async def get(self, options: Any, path: Any) -> list[dict[str, int]]:
        assert options["filters"] == {"active": True}
        return [{"masterid": masterid} for masterid in sorted(self.active)[:1]]


class Master:
    """A master on a clock of the test's."""

    def __init__(self, masterid: int = 1, active: tuple[int, ...] = (1,), batches: int = 1) -> None:
        self.reactor = Clock()
        self.masterid = masterid
        self.data = Data(list(active), batches)


def janitor_of(master: Any, **kept: Any) -> Janitor:
    return Janitor(master, Retention(**kept))


def names(master: Master) -> list[str]:
    return [call[0] for call in master.data.update.calls]


def pass_time(master: Master, batches: int) -> None:
    for _ in range(batches):
        master.reactor.advance(PAUSE_S)


def test_a_pass() -> None:
    """A pass removes one kind after the other, referring rows first, in batches, each from the end of the last one."""
    master = Master(batches=2)
    janitor = janitor_of(master, logs=1 * DAY, build_data=2 * DAY, builds=3 * DAY, changes=4 * DAY, keep_builds=5)
    done = ensureDeferred(janitor.tidy())
    pass_time(master, 12)
    assert done.called
    assert master.data.update.calls[:2] == [("pruneLogs", DAY, 5, (0, 0)), ("pruneLogs", DAY, 5, (0, 1))]
    assert master.data.update.calls[2::2] == [
        ("pruneBuildData", 2 * DAY, 5, (0, 0)),
        ("pruneBuilds", 3 * DAY, 5, (0, 0)),
        ("pruneBuildsets", 3 * DAY, (0, 0)),
        ("pruneChanges", 4 * DAY, (0, 0)),
        ("pruneSourceStamps", 4 * DAY, (0, 0)),
    ]


def test_pauses() -> None:
    """Between two batches others can write."""
    master = Master(batches=3)
    ensureDeferred(janitor_of(master).tidy())
    for count in (1, 2, 3):
        assert len(master.data.update.calls) == count
        master.reactor.advance(PAUSE_S)


def test_for_good() -> None:
    """None keeps things for good."""
    master = Master()
    done = ensureDeferred(janitor_of(master, logs=None, build_data=None, builds=None).tidy())
    pass_time(master, 2)
    assert done.called
    assert names(master) == ["pruneChanges", "pruneSourceStamps"]


def test_one_master() -> None:
    """Of several active masters the first does it; another goes on when that one is gone."""
    master = Master(masterid=2, active=(1, 2))
    janitor = janitor_of(master)
    janitor.start()
    assert names(master) == []
    master.data.active.remove(1)
    master.reactor.advance(INTERVAL_S)
    assert names(master) == ["pruneLogs"]
    janitor.stop()


def test_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass at the start and every hour; a reconfig counts from the next pass on."""
    master = Master()
    janitor = janitor_of(master, build_data=None, builds=None, changes=None)
    janitor.start()
    pass_time(master, 1)
    janitor.retention = Retention(logs=7 * DAY, build_data=None, builds=None, changes=None)
    master.reactor.advance(INTERVAL_S)
    assert [call[1] for call in master.data.update.calls] == [90 * DAY, 7 * DAY]
    janitor.stop()


def test_stop() -> None:
    """After stop nothing more is removed, also in the middle of a pass."""
    master = Master(batches=9)
    janitor = janitor_of(master)
    janitor.start()
    pass_time(master, 2)
    janitor.stop()
    pass_time(master, 5)
    assert len(master.data.update.calls) == 3
    assert master.reactor.getDelayedCalls() == []


def test_a_failure_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that fails says so; the next one begins anew."""
    master = Master()
    monkeypatch.setattr(master.data.update, "pruneLogs", lambda *_: fail(OSError("gone")), raising=False)
    janitor = janitor_of(master)
    with capturedLogs() as said:
        janitor.start()
    assert any("log_failure" in event for event in said)
    monkeypatch.undo()
    master.reactor.advance(INTERVAL_S)
    assert names(master) == ["pruneLogs"]
    janitor.stop()
