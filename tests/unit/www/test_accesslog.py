"""The log of requests."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www.http.accesslog import DELAY_S, AccessLog
from buildbot.www.http.messages import Request, Response
from tests.unit.www.test_login import serving

LINE = r'"127.0.0.1" - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] '


async def test_lines(master: FakeMaster, tmp_path: Path) -> None:
    """Each request is a line of the combined format, for any content of its headers; a stop writes the lines that
    wait.
    """
    master.basedir = tmp_path  # type: ignore[attr-defined]
    async with serving(master) as client:
        assert await client.get("/api/v2/builders?limit=1", Referer="http://x/", User_Agent='a "b\\"') == 200
        assert await client.get("/nothing") == 404
        body = (await client.ask("GET", "/ready"))[2]
    lines = (tmp_path / "http.log").read_text().splitlines()
    assert len(lines) == 3
    assert pytest.approx(len(body)) == int(lines[2].split('"')[4].split()[1])
    start = LINE + r'"GET /api/v2/builders\?limit=1 HTTP/1.1" 200 \d+ "http://x/" "a \\"b\\\\\\"" ?$'
    assert re.fullmatch(start, lines[0]), lines[0]
    assert re.fullmatch(LINE + r'"GET /nothing HTTP/1.1" 404 \d+ "-" "-"', lines[1])


async def test_where_to(master: FakeMaster, tmp_path: Path) -> None:
    """The configuration says where to, and a new one counts at once; without a name it is the master's log."""
    master.basedir = tmp_path  # type: ignore[attr-defined]
    master.log_rotation = SimpleNamespace(rotateLength=1, maxRotatedFiles=1)  # type: ignore[attr-defined]
    async with serving(master, logfileName="a.log") as client:
        await client.get("/a")
        await client.server.reconfigure({"port": 0, "logfileName": None}, "http://localhost:1/")
        with capturedLogs() as logs:
            await client.get("/b")
        await client.server.reconfigure({"port": 0, "logfileName": "a.log"}, "http://localhost:1/")
        await client.get("/c")
    assert "GET /c " in (tmp_path / "a.log").read_text()
    assert "GET /a " in (tmp_path / "a.log.1").read_text()
    assert any("GET /b " in event.get("line", "") for event in logs)


def test_lines_are_written_together() -> None:
    """Lines wait a moment for others, and many do not wait; a full disk loses lines and nothing else."""
    clock, written = Clock(), []

    def write(text: str) -> None:
        if text.count("\n") == 2:
            raise OSError(28, "No space left on device")
        written.append(text.count("\n"))

    log = AccessLog(clock, SimpleNamespace(write=write, close=lambda: None))
    for count in (1, 2, 500, 3):
        for _ in range(count):
            log.add(Request("GET", "/"), Response.text(200, "x"))
        clock.advance(DELAY_S)
    log.close()
    assert written == [1, 500, 3]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rest_minimum_version": 3}, "['rest_minimum_version'] must be a number from 0 to 2"),
        ({"versions": (("a", "b"), ("c",))}, "['versions'] element 2 must be a tuple of a name and at least one text"),
        ({"versions": [("a", 1)]}, "['versions'] element 1 must be a tuple of a name and at least one text"),
        ({"logfileName": "none/http.log"}, "['logfileName'] must be a file in a directory that is there"),
        ({"logRotateLength": 0}, "['logRotateLength'] must be at least 1, not 0"),
        ({"cookie_expiration_time": 7}, "['cookie_expiration_time'] must be a datetime.timedelta above zero"),
        ({"url": "http://x/"}, "['url'] is unknown: it is c['buildbotURL']"),
        ({"cookie_secret": "x"}, "['cookie_secret'] is unknown"),
    ],
)
def test_mistakes(tmp_path: Path, values: Any, message: str) -> None:
    """A wrong value of a key of the web server is a mistake that names the allowed values."""
    with pytest.raises(ConfigErrors) as caught:
        MasterConfig.from_values({"www": values}, tmp_path)
    assert f"c['www'] {message}" in str(caught.value)


def test_accepted(tmp_path: Path) -> None:
    """Values of existing configurations are accepted; a value without effect is a warning with the reason."""
    values = {"cookie_expiration_time": None, "versions": [("Own", "1", "x")], "custom_templates_dir": "nowhere"}
    config = MasterConfig.from_values({"www": {**values, "graphql": True, "jsonp": True}}, tmp_path)
    told = [warning for warning in config.warnings if "has no effect" in warning]
    assert ["wsgi_dashboards" in told[0], "REST" in told[1], "allowed_origins" in told[2]] == [True] * 3


async def test_versions(master: FakeMaster) -> None:
    """Further lines of the page About follow ours."""
    async with serving(master, versions=[("Own", "1", "x")]) as client:
        config = (await client.ask("GET", "/config"))[2]
        assert b'["Own","1","x"]]' in config
