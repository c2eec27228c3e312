"""Agents that the master runs itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.process.builder import Builder
from buildbot.process.factory import BuildFactory
from buildbot.process.workers.manager import WorkerManager
from buildbot.steps.shell import ShellCommand
from buildbot.test.recording import Recording
from buildbot.util.results import SUCCESS
from buildbot.worker import local
from buildbot.worker.local import LocalWorker
from tests.e2e.agents import ReapedAtEnd
from tests.support.reactor import reactor

pytestmark = pytest.mark.e2e


class Own:
    """A master's process layer with one local worker."""

    def __init__(self, basedir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.master = Recording()
        self.manager = WorkerManager(self.master, basedir)
        self.manager.on_change = lambda name: self.master.note("changed", name)
        self.pids: list[int] = []
        spawn = reactor.spawnProcess

        def spawned(*args: Any, **kwargs: Any) -> Any:
            process = spawn(*args, **kwargs)
            ReapedAtEnd(process.pid)
            self.pids.append(process.pid)
            return process

        monkeypatch.setattr(reactor, "spawnProcess", spawned)

    def config(self, *workers: LocalWorker) -> MasterConfig:
        factory = BuildFactory([ShellCommand(command='pwd; [ -z "$PYTHONPATH" ]')])
        builder = BuilderConfig(name="b", workernames=["w"], factory=factory)
        self.builder = Builder(self.master, builder, 1, self.manager)
        return MasterConfig(Path(), workers=workers, builders=[builder] if workers else [])

    async def connected(self, times: int) -> None:
        await self.master.until(lambda: len(self.master.of("workerConnected")) == times)
        await self.master.until(lambda: bool(self.manager.available("b")))


async def test_local_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It builds without a port or a password in the configuration; its agent comes back when it is killed, stays while
    the configuration is read again, moves with its directory, and ends with the master."""
    monkeypatch.setattr(local, "FIRST_PAUSE_S", 0.0)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    own = Own(tmp_path, monkeypatch)
    await own.manager.start(own.config(LocalWorker("w")))
    await own.connected(1)
    request = await own.master.add_request("b")
    await own.builder.start_build(request, own.manager.available("b")[0])
    await own.master.until(lambda: not own.builder.running)
    assert own.master.build(1)["results"] == SUCCESS
    assert f"o{tmp_path}/workers/w/b/build\n" in own.master.text(2)

    os.kill(own.pids[0], signal.SIGKILL)
    await own.connected(2)
    await own.manager.reconfigure(own.config(LocalWorker("w", max_builds=3)))
    assert own.manager.available("b") and len(own.pids) == 2
    await own.manager.reconfigure(own.config(LocalWorker("w", "elsewhere")))
    await own.connected(3)
    assert (tmp_path / "elsewhere" / "twistd.log").exists() and len(own.pids) == 3
    await own.manager.stop()
    assert not any(Path("/proc", str(pid)).exists() for pid in own.pids)
