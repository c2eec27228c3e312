"""`buildbot container`, as a container starts and stops it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.e2e.test_cli import BUILDBOT, CONFIG, wait_for
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e


def test_life(tmp_path: Path) -> None:
    """In an empty directory it fetches the configuration, makes the database and serves. SIGTERM ends it; it starts
    again with the files that are there.
    """
    port = free_port()
    (tmp_path / "remote").write_text(CONFIG.format(port=port))
    environment = {**os.environ, "BUILDBOT_CONFIG_URL": (tmp_path / "remote").as_uri()}
    for _ in range(2):
        with subprocess.Popen(
            [BUILDBOT, "container", str(tmp_path / "master")], stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            wait_for(process.stdout, "BuildMaster is running")
            with urlopen(f"http://127.0.0.1:{port}/ready") as reply:
                assert reply.status == 200
            process.send_signal(signal.SIGTERM)
            assert "stopped" in process.stdout.read()
            assert process.wait() == 0
    assert (tmp_path / "master" / "config" / "master.cfg").exists()
