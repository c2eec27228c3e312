"""The prompt inside the master, with OpenSSH's client."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock

from buildbot import manhole as manhole_module
from buildbot import plugins
from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.plugins import util
from buildbot.test.fake.fakedb import FakeMaster
from tests.support.reactor import reactor
from tests.unit.www.clients import until
from tests.unit.www.test_front import client

SSH, KEYGEN = shutil.which("ssh"), shutil.which("ssh-keygen")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a server's key, a key that may come in, and one that may not."""
    if SSH is None or KEYGEN is None:
        pytest.skip("OpenSSH's client is not installed")
    path = tmp_path_factory.mktemp("keys")
    for name in ("ssh_host_ed25519_key", "mine", "other"):
        subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", str(path / name)], check=True)
    (path / "authorized").write_text("# us\nno key\n" + (path / "mine.pub").read_text())
    return path


class Client(ProcessProtocol):
    """OpenSSH's client with a terminal; collects what it shows."""

    def __init__(self, typed: bytes) -> None:
        self.typed = typed
        self.shown = b""
        self.ended: Deferred[int] = Deferred()

    def connectionMade(self) -> None:
        if self.typed:
            self.transport.write(self.typed)  # type: ignore[union-attr]

    def outReceived(self, data: bytes) -> None:
        self.shown += data

    errReceived = outReceived

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(reason.value.exitCode)


async def ssh(keys: Path, key: str, port: int, typed: bytes = b"") -> tuple[int, bytes]:
    """What the client shows, and its exit code."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes")
    arguments = ["ssh", "-F", "none", "-tt", "-p", str(port), "-i", str(keys / key)]
    arguments += [part for option in options for part in ("-o", option)]
    client = Client(typed)
    assert SSH is not None
    reactor.spawnProcess(client, SSH, [*arguments, "anybody@127.0.0.1"], env=None)
    return await client.ended, client.shown


async def test_prompt(master: FakeMaster, keys: Path) -> None:
    """Whose key is in the file gets a prompt that knows the master; others get none; it ends with the master."""
    manhole = util.AuthorizedKeysManhole(0, str(keys / "authorized"), str(keys))
    await manhole.start(master)
    port = manhole.address.port
    assert manhole.address.host == "127.0.0.1"
    code, shown = await ssh(keys, "other", port)
    assert code == 255 and b"Permission denied" in shown
    typed = b"print('name is', master.name)\rshow(master.db.dialect)\r\x04"
    code, shown = await ssh(keys, "mine", port, typed)
    assert f"name is {master.name}".encode() in shown
    assert b"in_memory : True" in shown
    await manhole.stop()
    assert manhole.address is None


async def test_who_does_not_log_in(master: FakeMaster, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing ends, and there are few of them at a time."""
    monkeypatch.setattr(manhole_module, "MAX_STRANGERS", 2)
    clock = Clock()
    monkeypatch.setattr(master, "reactor", clock)
    clock.listenTCP = reactor.listenTCP  # type: ignore[attr-defined]
    manhole = util.AuthorizedKeysManhole(0, str(keys / "authorized"), str(keys))
    await manhole.start(master)
    silent = [await client(manhole.address.port) for _ in range(2)]
    await until(lambda: len(clock.getDelayedCalls()) >= 2)
    await (await client(manhole.address.port)).lost
    assert not any(each.lost.called for each in silent)
    clock.advance(manhole_module.LOGIN_S)
    for each in silent:
        await each.lost
    await manhole.stop()
    assert clock.getDelayedCalls() == []


def test_mistakes(tmp_path: Path, keys: Path) -> None:
    """A mistake names the argument and says what to do; the kinds that are not safe say what to use."""
    (tmp_path / "ssh_host_rsa_key").write_text("no key")
    good = {"port": 0, "keyfile": str(keys / "authorized"), "ssh_hostkey_dir": str(keys)}
    for change, message in (
        ({"port": "x"}, "AuthorizedKeysManhole: port must be a number or an endpoint"),
        ({"keyfile": "nowhere"}, "AuthorizedKeysManhole: keyfile must be a file with public keys"),
        (
            {"ssh_hostkey_dir": str(tmp_path / "x")},
            "AuthorizedKeysManhole: ssh_hostkey_dir must be a directory",
        ),
        (
            {"ssh_hostkey_dir": str(tmp_path)},
            "AuthorizedKeysManhole: ssh_hostkey_dir has ssh_host_rsa_key",
        ),
    ):
        with pytest.raises(ConfigErrors) as caught:
            util.AuthorizedKeysManhole(**{**good, **change})
        assert caught.value.errors[0].startswith(message)
    for name in ("PasswordManhole", "TelnetManhole"):
        with pytest.raises(AttributeError, match="use AuthorizedKeysManhole"):
            getattr(plugins.util, name)
    with pytest.raises(ConfigErrors, match=r"c\['manhole'\] must be a util.AuthorizedKeysManhole"):
        MasterConfig.from_values({"manhole": util.AuthorizedKeysManhole}, tmp_path)
    one, same, other = (util.AuthorizedKeysManhole(**{**good, "port": port}) for port in (0, 0, 1))
    assert one.same_as(same) and not one.same_as(other) and not one.same_as(None)
    assert MasterConfig.from_values({"manhole": one, "multiMaster": True}, tmp_path).manhole is one
