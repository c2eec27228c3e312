"""A master that stands still for longer than the log of events reaches back, beside another one that goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buildbot.master import openMaster
from tests.support.masters import make_master
from tests.support.reactor import run

pytestmark = pytest.mark.e2e

BUILDBOT = Path(sys.executable).parent / "buildbot"
CONFIG = """
c = BuildmasterConfig = {"workers": [], "builders": [], "schedulers": [], "protocols": {}}
"""


async def go_on_without(url: str) -> None:
    """Write, remove the written events, and write again."""
    other: Any = await openMaster(url, "other")
    await other.data.update.addChange(author="forgotten")
    await other.data.update.trimEvents(0)
    await other.data.update.addChange(author="al")
    await other.close()


def test_asleep_for_too_long(tmp_path: Path) -> None:
    """The master logs the reason and ends with an error, so that its supervisor starts it again."""
    directory = tmp_path / "master"
    make_master(directory)
    (directory / "master.cfg").write_text(CONFIG)
    with subprocess.Popen([BUILDBOT, "start", "--nodaemon", directory], stdout=subprocess.PIPE, text=True) as master:
        assert master.stdout is not None
        while "BuildMaster is running" not in (line := master.stdout.readline()):
            assert line, "it ended"
        master.send_signal(signal.SIGSTOP)
        run(go_on_without(f"sqlite:///{directory / 'state.sqlite'}"))
        master.send_signal(signal.SIGCONT)
        said = master.stdout.read()
        assert master.wait(60) == 1
    assert "away for longer than the log of events reaches back" in said
