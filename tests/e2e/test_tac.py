"""A master that ``twistd`` runs from a ``buildbot.tac``: ours, and one that Buildbot 4.3 has written."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_cli import Directory, master

__all__ = ["master"]

pytestmark = pytest.mark.e2e

TWISTD = str(Path(sys.executable).with_name("twistd"))

#: written by `buildbot create-master --relocatable` of 4.3, but for comments
OF_BUILDBOT = """\
import os

from twisted.application import service
from buildbot.master import BuildMaster

basedir = '.'
rotateLength = 10000000
maxRotatedFiles = 10
configfile = 'master.cfg'
umask = None

if basedir == '.':
    basedir = os.path.abspath(os.path.dirname(__file__))

application = service.Application('buildmaster')
from twisted.python.logfile import LogFile
from twisted.python.log import ILogObserver, FileLogObserver
logfile = LogFile.fromFullPath(os.path.join(basedir, "twistd.log"), rotateLength=rotateLength,
                                maxRotatedFiles=maxRotatedFiles)
application.setComponent(ILogObserver, FileLogObserver(logfile).emit)

m = BuildMaster(basedir, configfile, umask)
m.setServiceParent(application)
m.log_rotation.rotateLength = rotateLength
m.log_rotation.maxRotatedFiles = maxRotatedFiles
"""


def twistd(master: Directory) -> subprocess.Popen[bytes]:
    return subprocess.Popen([TWISTD, "-n", "--no_save", "-y", "buildbot.tac"], cwd=master.path)


@pytest.mark.parametrize("tac", [None, OF_BUILDBOT], ids=["ours", "of Buildbot"])
def test_life(master: Directory, tac: str | None) -> None:
    """It starts, reads its configuration again, is the only one in its directory, and stops; commands know it."""
    if tac is not None:
        (master.path / "buildbot.tac").write_text(tac)
    master.log.touch()
    with master.log_lines() as lines:
        process = twistd(master)
        assert any("BuildMaster is running" in line for line in lines)
        assert master.pid == process.pid
        assert "a master already runs" in master.run("start", code=1)
        assert "The master has the new configuration" in master.run("reconfig")
        master.run("stop")
        assert process.wait(30) in (0, -signal.SIGTERM)  # twistd ends by the signal that it was sent
    assert not (master.path / "twistd.pid").exists()
    assert (master.path / "http.log").exists()


def test_mistake(master: Directory) -> None:
    """A configuration with a mistake does not start; the log has the mistake, and that the master did not start."""
    master.configure("c['titel'] = 'x'\n")
    process = twistd(master)
    process.wait(30)
    log = master.log.read_text()
    assert "c['titel'] is unknown; did you mean 'title'?" in log
    assert "BuildMaster startup failed" in log


def test_interrupted(master: Directory) -> None:
    """An interrupt stops it."""
    master.log.touch()
    with master.log_lines() as lines:
        process = twistd(master)
        assert any("BuildMaster is running" in line for line in lines)
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert "stopped" in master.log.read_text()
