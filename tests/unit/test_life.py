"""SIGHUP at any time in the life of a master."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from buildbot.life import Life
from buildbot.util import garbage


class Master:
    """A master whose start and stop end when the test says."""

    def __init__(self) -> None:
        self.started: Deferred[None] = Deferred()
        self.stopped: Deferred[None] = Deferred()
        self.failed = False
        self.reconfigured = 0
        www = SimpleNamespace(port=None)
        self.config = SimpleNamespace(warnings=[], buildbotURL="", www=www)

    async def start(self) -> None:
        await self.started

    async def reconfig(self) -> None:
        self.reconfigured += 1

    async def stop(self) -> None:
        await self.stopped


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done about garbage; this process is not the master's, so nothing is."""
    done: list[str] = []
    monkeypatch.setattr(garbage, "set_aside", lambda: done.append("set aside"))
    monkeypatch.setattr(garbage, "collect", lambda: done.append("collected"))
    return done


@pytest.fixture
def master(collected: list[str]) -> Iterator[Master]:
    """A master; the handlers of signals are as before afterwards."""
    numbers = (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield Master()
    for number, handler in before.items():
        signal.signal(number, handler)


def life_of(master: Master) -> Life:
    reactor: Any = SimpleNamespace(stop=lambda: None)
    return Life(master, reactor, lambda is_up, text: None)


def test_during_the_start(master: Master, collected: list[str]) -> None:
    """The configuration is read again when the master is up, and the garbage of the old one is collected."""
    life = life_of(master)
    life.start()
    life.reconfig()
    assert master.reconfigured == 0
    master.started.callback(None)
    assert master.reconfigured == 1
    assert collected == ["set aside", "collected"]


def test_a_start_that_fails(master: Master) -> None:
    """There is nothing to change."""
    life = life_of(master)
    life.start()
    life.reconfig()
    master.started.errback(OSError("no"))
    assert master.reconfigured == 0 and life.exit_code == 1


def test_during_the_stop(master: Master) -> None:
    """A master that ends takes no new configuration: it would open its ports again."""
    life = life_of(master)
    life.start()
    master.started.callback(None)
    life.stop()
    life.reconfig()
    master.stopped.callback(None)
    assert master.reconfigured == 0
