"""A machine that sleeps until a build needs it: a whole master with a real agent, and a store of figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buildbot.master import BuildMaster
from buildbot.test.reporters import HttpRecorder
from buildbot.test.running import until
from buildbot.util.results import SUCCESS
from tests.support.masters import make_master
from tests.support.ports import free_port
from tests.support.reactor import reactor

pytestmark = pytest.mark.e2e

TOOL = Path(sys.executable).with_name("buildbot-worker")
#: waking the machine is starting its agent, as the machine itself would
CONFIGURATION = """
from buildbot.machine.generic import GenericLatentMachine, LocalWakeAction
from buildbot.plugins import schedulers, steps, util, worker
from buildbot.statistics.capture import CaptureBuildDuration
from buildbot.statistics.stats_service import StatsService
from buildbot.statistics.storage_backends.influxdb_client import InfluxStorageService

c = BuildmasterConfig = {{
    "protocols": {{"pb": {{"port": "tcp:{port}:interface=127.0.0.1"}}}},
    "machines": [
        GenericLatentMachine("tower", LocalWakeAction(["sh", "-c", "cd {agent} && {twistd} --no_save -y buildbot.tac"]),
                             LocalWakeAction(["sh", "-c", "kill `cat {agent}/twistd.pid`"]), build_wait_timeout=0),
    ],
    "workers": [worker.Worker("tower-1", "pass", machine_name="tower")],
    "builders": [util.BuilderConfig("b", workernames=["tower-1"],
                                    factory=util.BuildFactory([steps.ShellCommand(command="echo awake")]))],
    "schedulers": [schedulers.Periodic("now", ["b"], periodicBuildTimer=86400)],
    "services": [
        StatsService([InfluxStorageService("figures", 8086, None, None, "builds", [CaptureBuildDuration("b")])]),
    ],
    "user_managers": [util.CommandlineUserManager("me", "pw", "tcp:0:interface=127.0.0.1")],
}}
"""


async def test_woken_for_a_build(tmp_path: Path) -> None:
    """The build that waits wakes the machine and runs on it; after it the machine sleeps again."""
    basedir, agent, port = tmp_path / "master", tmp_path / "agent", free_port()
    make_master(basedir)
    create = [str(TOOL), "create-worker", "--keepalive=0", str(agent), f"127.0.0.1:{port}", "tower-1", "pass"]
    subprocess.run(create, check=True, capture_output=True)
    (basedir / "master.cfg").write_text(CONFIGURATION.format(port=port, twistd=TOOL.with_name("twistd"), agent=agent))
    server = HttpRecorder(lambda request: (204, b""))
    master: Any = BuildMaster(basedir, reactor=reactor)
    await master.start()
    master._http = server.client(reactor)

    async def built() -> Any:
        return await master.data.get({"filters": {"complete": True}}, ("builds",))

    async def asleep() -> bool:
        return not (agent / "twistd.pid").exists()

    async def figures() -> bool:
        return bool(server.requests)

    try:
        (build,) = await until(built)
        assert build["results"] == SUCCESS
        await until(asleep)
        await until(figures)
        assert server.requests[0]["body"].startswith(b"b-build-times,build_number=1,builder_name=b duration=")
        assert "CommandlineUserManager:tcp:0:interface=127.0.0.1:me" in master.namedServices
    finally:
        await master.stop()
        subprocess.run([TOOL, "stop", agent], check=False, capture_output=True)
