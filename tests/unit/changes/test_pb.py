"""PBChangeSource: changes that clients send, over real connections."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import capturedLogs
from twisted.spread import pb

from bench.upstream_env import NoUpstreamError, UpstreamEnvironment
from buildbot.changes.pb import PBChangeSource
from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.plugins import changes as plugins
from buildbot.process.properties import renderer
from buildbot.process.workers.clientports import ClientPorts
from buildbot.process.workers.manager import WorkerManager
from buildbot.test.running import Running
from buildbot.worker.base import Worker
from tests.importing.old_master import ENVIRONMENT
from tests.support.reactor import reactor

OWN_PORT = "tcp:0:interface=127.0.0.1"
SENDCHANGE = str(Path(sys.executable).with_name("buildbot"))


class Receiver:
    """A change source in a master, at a port of its own."""

    def __init__(self, master: Any, **arguments: Any) -> None:
        self.master = Running(master)
        self.source = PBChangeSource(**{"port": OWN_PORT, **arguments})

    async def __aenter__(self) -> Receiver:
        await self.source.run_in(self.master)  # type: ignore[arg-type]
        assert self.source.working
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.source.stop_running()

    @property
    def port(self) -> int:
        address: Any = self.master.client_ports.address(OWN_PORT)
        return int(address.port)

    async def changes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.master.data.get({"order": ["changeid"]}, ("changes",))
        return found

    async def send(self, change: Any, user: bytes = b"change", password: bytes = b"changepw") -> None:
        await send(self.port, change, user, password)


async def send(port: int, change: Any, user: bytes = b"change", password: bytes = b"changepw") -> None:
    """Log in and send a change, as clients do; the master's error is raised."""
    factory: Any = pb.PBClientFactory()
    connection = reactor.connectTCP("127.0.0.1", port, factory)
    try:
        perspective = await factory.login(UsernamePassword(user, password))
        await perspective.callRemote("addChange", change)
    finally:
        connection.disconnect()


async def test_changes_of_old_clients(master: Any) -> None:
    """Bytes are text, older names count, and missing values have defaults."""
    async with Receiver(master) as receiver:
        await receiver.send({b"author": b"J\xc3\xb6", "files": [b"a", "b"], "when_timestamp": 1.9, "revision": 17})
        await receiver.send(
            {"who": "jo", "properties": {b"p": b"v", "n": 5}, "codebase": "lib", "isdir": 0, "src": "git"}
        )
        first, second = await receiver.changes()
    expected = {
        "author": "Jö",
        "files": ["a", "b"],
        "when_timestamp": 1,
        "revision": "17",
        "comments": "",
        "branch": None,
    }
    assert {key: first[key] for key in expected} == expected
    assert second["properties"] == {"p": ["v", "Change"], "n": [5, "Change"]}
    assert (second["author"], second["codebase"], second["files"]) == ("jo", "lib", [])
    (user,) = await receiver.master.db.users.getUsers()
    assert user["identifier"] == "jo"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ([], "a change must be a dictionary"),
        ({"who": None}, "a change must say who made it"),
        ({"who": ["x"]}, "who must be a text, not \\['x'\\]"),
        ({"who": "x", "files": "f"}, "files must be a list"),
        ({"who": "x", "properties": []}, None),
        ({"who": "x", "properties": [1]}, "properties must be a dictionary"),
        ({"who": "x", "when": "now"}, "when must be a Unix time, not 'now'"),
        ({"who": "x", "branches": "b"}, "a change has no 'branches'; it has who,"),
        ({"who": "x", "branch": "b" * 100_001}, "the change cannot be stored: branch"),
    ],
)
async def test_invalid_changes_are_refused(master: Any, change: Any, complaint: str | None) -> None:
    """The client gets the reason of the refusal, and nothing is added."""
    async with Receiver(master) as receiver:
        if complaint is None:
            await receiver.send(change)
            assert len(await receiver.changes()) == 1
            return
        with pytest.raises(pb.RemoteError, match=complaint):
            await receiver.send(change)
        assert await receiver.changes() == []


async def test_prefix(master: Any) -> None:
    """File names lose the prefix; a change without a file that has it does not count."""
    async with Receiver(master, prefix="trunk/") as receiver:
        await receiver.send({"who": "x", "files": ["trunk/a", "branches/b/a", "trunk/c/d"]})
        await receiver.send({"who": "x", "files": ["branches/b/a"]})
        await receiver.send({"who": "x", "files": []})
        assert [change["files"] for change in await receiver.changes()] == [["a", "c/d"]]


async def test_a_client_needs_the_password(master: Any) -> None:
    """A client needs the password, which may be a renderable; after the source has stopped all are refused."""
    async with Receiver(master, user="hook", passwd=renderer(lambda props: "s3cret")) as receiver:
        for user, password in ((b"hook", b"wrong"), (b"change", b"s3cret"), (b"", b"")):
            with pytest.raises(pb.RemoteError, match="unknown name or wrong password"):
                await receiver.send({"who": "x"}, user, password)
        await receiver.send({"who": "x"}, b"hook", b"s3cret")
        port = receiver.port
        factory: Any = pb.PBClientFactory()
        connection = reactor.connectTCP("127.0.0.1", port, factory)
        perspective = await factory.login(UsernamePassword(b"hook", b"s3cret"))
        await receiver.source.stop_running()
        with pytest.raises(pb.RemoteError, match="this master does not take changes now"):
            await perspective.callRemote("addChange", {"who": "late"})
        connection.disconnect()
        assert [change["author"] for change in await receiver.changes()] == ["x"]


async def test_the_port_of_the_workers(master: Any) -> None:
    """Without a port of its own, clients come to the workers'; a worker is no client, and a name is one program."""
    manager = WorkerManager(master)
    await manager.start(MasterConfig(Path(), workers=[Worker("w", "p")], protocols={"pb": {"port": OWN_PORT}}))
    running: Any = Running(master)
    running.client_ports = ClientPorts(reactor, manager.clients)
    source = PBChangeSource()
    await source.run_in(running)
    address: Any = manager.address
    await send(address.port, {"who": "x"})
    with pytest.raises(pb.RemoteError, match="only workers log in here"):
        await send(address.port, {"who": "x"}, b"w", b"p")
    other = PBChangeSource(name="other")
    with capturedLogs() as logs:
        await other.run_in(running)
    assert any("there are two programs that log in as 'change'" in str(event.get("log_failure")) for event in logs)
    await other.stop_running()
    await source.stop_running()
    with pytest.raises(pb.RemoteError, match="unknown name or wrong password"):
        await send(address.port, {"who": "x"})
    assert len(await master.data.get({}, ("changes",))) == 1
    await manager.stop()


ARGUMENTS = [
    "--auth", "change:changepw", "--who", "Jö <jo@example.org>", "--branch", "b1", "--category", "c1",
    "--project", "p1", "--repository", "r1", "--revision", "17", "--comments", "line\nline", "--when", "1600000000.5",
    "--revlink", "http://l/", "--property", "a:b:c", "--property", "d:", "--vc", "git", "--codebase", "lib", "f 1", "é",
]  # fmt: skip
SENT = {
    "author": "Jö <jo@example.org>",
    "branch": "b1",
    "category": "c1",
    "project": "p1",
    "repository": "r1",
    "revision": "17",
    "comments": "line\nline",
    "when_timestamp": 1600000000,
    "revlink": "http://l/",
    "properties": {"a": ["b:c", "Change"], "d": ["", "Change"]},
    "codebase": "lib",
    "files": ["f 1", "é"],
}


@pytest.fixture(params=["own", "buildbot 4.3"])
def program(request: pytest.FixtureRequest) -> str:
    """A program ``buildbot`` with the command ``sendchange``."""
    if request.param == "own":
        return SENDCHANGE
    environment = UpstreamEnvironment(ENVIRONMENT)
    try:
        environment.prepare("sqlite")
    except NoUpstreamError as reason:
        pytest.skip(f"no Buildbot 4.3 to test with: {reason}")
    return str(environment.python.with_name("buildbot"))


async def test_sendchange(master: Any, program: str) -> None:
    """``buildbot sendchange``, ours and that of Buildbot 4.3: all its options, and its errors."""

    async def sendchange(*arguments: str) -> tuple[int, str]:
        env = {**os.environ, "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
        out, err, code = await getProcessOutputAndValue(program, ["sendchange", *arguments], env=env)
        return code, (out + err).decode()

    async with Receiver(master) as receiver:
        where = ["--master", f"127.0.0.1:{receiver.port}"]
        assert await sendchange(*where, *ARGUMENTS) == (0, "change sent successfully\n")
        assert await sendchange(*where, "-W", "x") == (0, "change sent successfully\n")
        code, said = await sendchange(*where, "-W", "x", "-a", "change:wrong")
        assert code == 1 and "change not sent" in said
        code, said = await sendchange("--master", "127.0.0.1:1", "-W", "x")
        assert code == 1 and "change not sent" in said
        first, second = await receiver.changes()
    assert {key: first[key] for key in SENT} == SENT
    assert (second["author"], second["codebase"], second["when_timestamp"] > 1_700_000_000) == ("x", "", True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"user": ""}, "user must be a text that is not empty"),
        ({"port": 1.5}, "port must be a port, an endpoint description or None, not 1.5"),
        ({"prefix": ""}, "prefix must be a text that is not empty"),
        ({"password": "x"}, "unknown argument 'password'; did you mean 'passwd'"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigErrors, match=complaint):
        PBChangeSource(**arguments)


def test_plugin_name() -> None:
    assert plugins.PBChangeSource is PBChangeSource
    assert (PBChangeSource().name, PBChangeSource(port=9999).name) == ("PBChangeSource:None", "PBChangeSource:9999")
