"""Many real agents at once, unmodified `buildbot-worker` in one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.process import ROOT
from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.process.factory import BuildFactory
from buildbot.process.workers.manager import WorkerManager
from buildbot.test.recording import Recording
from buildbot.worker.base import Worker

pytestmark = pytest.mark.e2e
AGENTS = 600


@pytest.mark.timeout(600)
async def test_six_hundred_agents_that_come_at_once_are_all_in_service(tmp_path: Path) -> None:
    """They knock while the master's reactor stands still, as at its start; each can take a build afterwards."""
    master = Recording()
    manager = WorkerManager(master)
    names = [f"w{number}" for number in range(AGENTS)]
    await manager.start(
        MasterConfig(
            Path(),
            workers=[Worker(name, "pw") for name in names],
            builders=[BuilderConfig(name="b", workernames=names, factory=BuildFactory())],
            protocols={"pb": {"port": "tcp:0:interface=127.0.0.1"}},
        )
    )
    port = manager.address.port  # type: ignore[union-attr]
    command = [sys.executable, "-m", "bench.actors.agents", f"--port={port}", f"--count={AGENTS}"]
    command.append(f"--directory={tmp_path}")
    with (tmp_path / "agents.log").open("w") as log:
        agents = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    assert agents.stdin is not None and agents.stdout is not None
    try:
        assert agents.stdout.readline() == b"ready\n"
        manager.on_change = lambda name: master.note("changed", name)
        await master.until(lambda: all(worker.connection for worker in manager.workers.values()))
        await master.until(lambda: len(manager.available("b")) == AGENTS)
    finally:
        await manager.stop()
        agents.stdin.close()
        agents.wait()
    assert len(master.of("workerConnected")) == AGENTS
