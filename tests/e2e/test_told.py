"""A real master with a reporter and a secret: the report arrives though the master is killed, the secret is nowhere."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import zstandard

from tests.e2e import test_crash
from tests.e2e.test_crash import BIN, Farm
from tests.support.http import Handler
from tests.support.threads import in_thread

pytestmark = pytest.mark.e2e

SECRET = "hush-hush-0815"
CONFIG = """
from buildbot.plugins import reporters, schedulers, secrets, steps, util, worker
c = BuildmasterConfig = {{}}
c["workers"] = [worker.Worker("w", "secret")]
c["protocols"] = {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}
c["secretsProviders"] = [secrets.SecretInAFile(basedir + "/../secrets")]
command = ["sh", "-c", util.Interpolate("echo with %(secret:token)s; printf %(secret:token)s; cat key >&2; false")]
factory = util.BuildFactory()
factory.addSteps([
    steps.ShellCommand(command=command, name="tells"),
    steps.SetProperty(property="p", value=util.Secret("token"), alwaysRun=True),
], withSecrets=[("key", util.Secret("token"))])
c["builders"] = [util.BuilderConfig(name="b", workernames=["w"], factory=factory)]
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]
c["buildbotURL"] = "http://127.0.0.1:{www}/"
c["www"] = {{"port": {www}}}
c["services"] = [reporters.HttpStatusPush("http://127.0.0.1:{gate}/", headers={{"X-Token": util.Secret("token")}})]
"""


class Receiver(ThreadingHTTPServer):
    """Takes reports, or is busy."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.busy = True
        self.asked: Queue[bool] = Queue()
        self.taken: Queue[tuple[str | None, Any]] = Queue()


class _Handler(Handler):
    """One request."""

    server: Receiver

    def do_POST(self) -> None:
        """A report."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        busy = self.server.busy
        self.reply(b"", 503 if busy else 200)
        self.server.asked.put(busy)
        if not busy:
            self.server.taken.put((self.headers["X-Token"], json.loads(body)))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One that runs."""
    with in_thread(Receiver()) as made:
        yield made


def _unpacked(path: Path) -> Iterator[bytes]:
    """The content of a file, and of its compressed parts."""
    content = path.read_bytes()
    yield content
    at = content.find(b"\x28\xb5\x2f\xfd")
    while at >= 0:
        try:
            yield zstandard.ZstdDecompressor().decompressobj().decompress(content[at:])
        except zstandard.ZstdError:
            yield b""
        at = content.find(b"\x28\xb5\x2f\xfd", at + 1)


def test_killed_before_the_report_arrives(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginning and end arrive once the receiver is there again, in order, from the master that was started anew."""
    monkeypatch.setattr(test_crash, "CONFIG", CONFIG.replace("{gate}", str(receiver.server_port)))
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "token").write_text(SECRET + "\n")
    (secrets / "token").chmod(0o600)
    farm = Farm(tmp_path)
    farm.start()
    try:
        with farm.working():
            farm.force()
            ends = (build for _, event, build in farm.events("builds/*/*", 0) if event == "finished")
            build = next(ends)
            assert receiver.asked.get(timeout=60)
            farm.kill()
        receiver.busy = False
        farm.start()
        reports = [receiver.taken.get(timeout=60) for _ in range(2)]
        properties = farm.get(f"builds/{build['buildid']}/properties")["properties"][0]
    finally:
        subprocess.run([str(BIN / "buildbot"), "stop", str(farm.master)], capture_output=True, timeout=60)
    assert [(token, each["results"]) for token, each in reports] == [(SECRET, None), (SECRET, 2)]
    assert properties["p"][0] == "<token>"
    files = [Path(where) / name for where, _, names in os.walk(farm.master) for name in names]
    assert {"state.sqlite", "twistd.log"} <= {each.name for each in files}
    for each in files:
        assert not any(SECRET.encode() in part for part in _unpacked(each)), each
    assert any(b"with <token>" in part for each in files for part in _unpacked(each))
