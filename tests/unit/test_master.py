"""How a master ends after its builds, and how that is taken back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from buildbot.master import BuildMaster


class Process:
    """Stands for the process layer; its builds end when the test says."""

    def __init__(self) -> None:
        self.drained: Deferred[bool] = Deferred()
        self.resumed = 0

    async def drain(self) -> bool:
        return await self.drained

    async def resume(self) -> None:
        self.resumed += 1


def made(directory: Path) -> tuple[Any, Process, list[str]]:
    stopped: list[str] = []
    reactor = SimpleNamespace(running=True, stop=lambda: stopped.append("stopped"))
    master: Any = BuildMaster(directory, reactor=reactor)
    master._process = process = Process()
    return master, process, stopped


def test_leave(tmp_path: Path) -> None:
    """It stops when its builds have ended; asked twice, it does so once."""
    master, process, stopped = made(tmp_path)
    master.leave()
    master.leave()
    assert master.is_leaving and stopped == []
    process.drained.callback(True)
    assert stopped == ["stopped"]


async def test_stay(tmp_path: Path) -> None:
    """Taken back, it builds again and does not stop; it may be asked anew."""
    master, process, stopped = made(tmp_path)
    await master.stay()
    assert process.resumed == 0
    master.leave()
    await master.stay()
    process.drained.callback(False)
    assert (master.is_leaving, process.resumed, stopped) == (False, 1, [])
    process.drained = Deferred()
    master.leave()
    process.drained.callback(True)
    assert stopped == ["stopped"]
