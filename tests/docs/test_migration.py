"""The commands in docs/migration.md, one after the other, on a real Buildbot 4.3."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.importing.old_master import OldMaster, ending
from tests.importing.support import contents

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

GUIDE = Path(__file__).parents[2] / "docs" / "migration.md"
BUILDBOT = Path(sys.executable).with_name("buildbot")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.S) for line in block.splitlines()]


class Administrator:
    """Runs the commands of the guide in their order."""

    def __init__(self, old: OldMaster, directory: Path) -> None:
        self.new = directory / "new"
        self._old = old
        self._left = list(COMMANDS)
        self._names = {
            "OLD": str(old.directory),
            "OLD_BUILDBOT": str(old.buildbot),
            "OLD_DB": f"sqlite:///{old.directory / 'state.sqlite'}",
            "NEW": str(self.new),
            "BUILDBOT": str(BUILDBOT),
            "COPY_DB": f"sqlite:///{directory / 'copy.sqlite'}",
            "PATH": "/usr/bin:/bin",
            "START_TIMEOUT": "100",  # of the old program: this machine may be busy
            "HOME": str(directory),
        }
        self._directory = directory

    def until(self, command: str) -> str:
        """Run the next commands, up to and with this one; what the last one says."""
        while True:
            line = self._left.pop(0)
            if 'OLD_BUILDBOT" stop' in line:  # it gives up waiting after some seconds
                with ending(self._old.directory):
                    said = self._run(line, codes=(0, 1))
            else:
                said = self._run(line)
            if command in line:
                return said

    def _run(self, line: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=self._directory, env=self._names, capture_output=True, text=True, timeout=110
        )
        said = done.stdout + done.stderr
        assert done.returncode in codes, f"{line}\n{said}"
        return said

    @property
    def finished(self) -> bool:
        """Whether all were run."""
        return not self._left


def get(url: str, path: str) -> Any:
    """A reply of the API."""
    with urlopen(f"{url}api/v2/{path}", timeout=60) as reply:
        return json.load(reply)


def text(url: str, path: str) -> str:
    """A raw log."""
    with urlopen(f"{url}api/v2/{path}", timeout=60) as reply:
        return str(reply.read().decode())


def test_the_guide(tmp_path: Path) -> None:
    """The switch-over, the way back, the second try and the copy: builds, logs and numbers are the same on both
    sides, a commit that came between is built once, and the old master runs as before."""
    old = OldMaster(tmp_path, "sqlite", "sqlite:///state.sqlite")
    admin = Administrator(old, tmp_path)
    try:
        old.start()
        old.start_worker()
        old.see_builds(2)
        admin.until("checkconfig")
        assert "Nothing was left out." in admin.until("import")
        old.see_builds(1)
        builds = old.api("builds?complete=true&order=buildid")["builds"]
        path = "builds/{}/steps/1/logs/stdio/raw"
        logs = {build["buildid"]: text(old.url, path.format(build["buildid"])) for build in builds}
        admin.until('OLD_BUILDBOT" stop')
        old.commit("second")
        assert "Nothing was left out." in admin.until("import")
        numbers = {row[0]: row[1] for row in contents(f"sqlite:///{admin.new / 'state.sqlite'}")["builds"]}
        admin.until("start")
        for build in builds:
            ours = get(old.url, f"builds/{build['buildid']}")["builds"][0]
            assert {key: ours[key] for key in build} == build, (numbers, builds)
            assert text(old.url, path.format(build["buildid"])) == logs[build["buildid"]]
        _see(old.url, "changes/*/new", lambda: len(get(old.url, "changes")["changes"]) == 1)
        assert [change["comments"] for change in get(old.url, "changes")["changes"]] == ["second"]
        _see(old.url, "builds/*/finished", lambda: _newest(old.url)["number"] > max(numbers.values()))
        admin.until('OLD_BUILDBOT" start')
        old.see_builds(1)
        assert old.api("builds/1")["builds"][0]["buildid"] == 1
        assert "Nothing was left out." in admin.until("import")
        admin.until("start")
        assert _newest(old.url)["number"] >= max(numbers.values())
        assert "are equal" in admin.until("copy-db")
        assert admin.finished
    finally:
        for directory in (old.directory, admin.new):
            _kill(directory / "twistd.pid")
        old.stop_worker()


def _kill(pid: Path) -> None:
    """End the daemon of a pid file, however busy it is."""
    if pid.exists():
        with suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def _newest(url: str) -> Any:
    return get(url, "builds?order=-buildid&limit=1")["builds"][0]


def _see(url: str, path: str, wanted: Any) -> None:
    """Wait for events until something is true; nothing is missed between looking and listening."""
    with urlopen(f"{url}sse/{path}", timeout=100) as stream:
        if wanted():
            return
        for line in stream:
            if line.startswith(b"data:") and wanted():
                return
    raise AssertionError("the stream ended")
