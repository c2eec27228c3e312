"""Actions that start and stop machines: programs, commands by ssh, HTTP requests."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import ensureDeferred, inlineCallbacks, succeed
from twisted.logger import capturedLogs
from twisted.web.resource import Resource
from twisted.web.server import Site

from buildbot.config.errors import ConfigErrors
from buildbot.machine.base import Machine
from buildbot.machine.generic import (
    GenericLatentMachine,
    HttpAction,
    LocalWakeAction,
    LocalWOLAction,
    MachineActionError,
    RemoteSshSuspendAction,
    RemoteSshWakeAction,
    RemoteSshWOLAction,
)
from buildbot.machine.latent import AbstractLatentMachine
from buildbot.process.machines import MachineManager
from buildbot.process.properties import Interpolate, Secret
from buildbot.process.secrets import SecretDetails
from buildbot.test.recording import Recording
from buildbot.util.deferreds import resolved
from buildbot.util.httpclient import HttpClient
from tests.support.reactor import reactor
from tests.unit.util import test_httpclient as httpserver
from tests.unit.util.test_httpproxies import proxy

MAC = "00:11:22:aa:bb:cc"


class _Secrets:
    """Has all secrets: a value is the name in capitals."""

    async def get(self, name: str) -> SecretDetails:
        return SecretDetails("test", name, name.upper())


def machine(start: Any, stop: Any = None) -> GenericLatentMachine:
    """A machine in a master with secrets."""
    made = GenericLatentMachine("box", start, stop or LocalWakeAction(["true"]))
    master: Any = Recording()
    master.reactor = reactor
    master.namedServices = {"secrets": _Secrets()}
    made.master = master
    return made


async def perform(action: Any) -> Any:
    """Start a machine by an action; the result."""
    made = machine(action)
    await made.reconfigService("box", action, action)
    return await resolved(made.start_machine())


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    """Makes a program that writes its arguments, and files among them, to files."""

    def make(code: int = 0, says: str = "") -> str:
        path = tmp_path / "program"
        path.write_text(
            f"""#!/bin/sh
            for word; do echo "$word" >> {tmp_path}/called; done
            while [ $# -gt 0 ]; do
                case "$1" in
                    -i) cat "$2" >> {tmp_path}/key;;
                    UserKnownHostsFile=*) cat "${{1#*=}}" >> {tmp_path}/known;;
                esac
                shift
            done
            echo "{says}" >&2
            exit {code}
            """
        )
        path.chmod(0o700)
        return str(path)

    return make


def called(tmp_path: Path) -> list[str]:
    return (tmp_path / "called").read_text().splitlines()


async def test_local(tmp_path: Path, program: Callable[..., str]) -> None:
    """A program on the master's machine is run without a shell; secrets in its arguments are rendered."""
    assert await perform(LocalWakeAction([program(), "a b", Secret("pin")])) is True
    assert called(tmp_path) == ["a b", "PIN"]


async def test_wake_on_lan(tmp_path: Path, program: Callable[..., str]) -> None:
    """The program gets the address of the network card."""
    assert await perform(LocalWOLAction(MAC, program())) is True
    assert called(tmp_path) == [MAC]


SSH = ["-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]


async def test_ssh(tmp_path: Path, program: Callable[..., str]) -> None:
    """Commands run on other machines; a key of the configuration is in a file only meanwhile."""
    assert await perform(RemoteSshWakeAction("ci@gate", ["wake", "box"], program())) is True
    assert called(tmp_path) == [*SSH, "ci@gate", "wake", "box"]
    (tmp_path / "called").unlink()
    assert await perform(RemoteSshWOLAction("gate", MAC, sshBin=program())) is True
    assert called(tmp_path) == [*SSH, "gate", "wakeonlan", MAC]
    (tmp_path / "called").unlink()
    action = RemoteSshSuspendAction(
        "ci@box", sshBin=program(), sshKey=Secret("key"), sshHostKey=Interpolate("ssh-ed25519 %(secret:host)s")
    )
    assert await perform(action) is True
    words = called(tmp_path)
    assert words[-3:] == ["ci@box", "systemctl", "suspend"]
    assert (tmp_path / "key").read_text() == "KEY\n" and (tmp_path / "known").read_text() == "box ssh-ed25519 HOST\n"
    assert not Path(words[words.index("-i") + 1]).exists()


@pytest.mark.parametrize("says", ["Connection to box closed by remote host.", "Timeout, server box not responding."])
async def test_suspended(says: str, program: Callable[..., str]) -> None:
    """A connection that a sleeping machine closes is success; one that cannot be made is a failure."""
    assert await perform(RemoteSshSuspendAction("box", sshBin=program(255, says))) is True
    with pytest.raises(MachineActionError, match="program ended with 255: Connection to box closed"):
        await perform(RemoteSshWakeAction("box", "wake", program(255, "Connection to box closed by remote host.")))
    with pytest.raises(MachineActionError, match="program ended with 255: No route to host"):
        await perform(RemoteSshSuspendAction("box", sshBin=program(255, "No route to host")))


async def test_failures(program: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names a program that is missing, fails or takes too long, with its message."""
    with pytest.raises(MachineActionError, match="there is no program 'no-such-program'"):
        await perform(LocalWakeAction("no-such-program"))
    with pytest.raises(MachineActionError, match="program ended with 3: out of order"):
        await perform(LocalWakeAction(program(3, "out of order")))
    with pytest.raises(ValueError, match="LocalWOLAction: wakeMac has a value that is not allowed"):
        await perform(LocalWOLAction(Secret("mac"), program()))
    monkeypatch.setattr("buildbot.machine.generic.TIMEOUT_S", 0.01)
    with pytest.raises(MachineActionError, match=r"sleep took longer than 0\.01 s: no message"):
        await perform(LocalWakeAction(["sleep", "60"]))


class Server(Resource):
    """Answers with a status, and keeps the request."""

    isLeaf = True
    status = 200

    def render(self, request: Any) -> bytes:
        names = (b"cookie", b"authorization", b"x-a")
        headers = [request.getHeader(each) for each in names]
        self.asked = (request.method, request.uri, *headers, request.content.read())
        request.setResponseCode(self.status)
        return b"said"


async def test_http() -> None:
    """A request is sent to a web server; a status of 400 or more is a failure."""
    server = Server()  # type: ignore[no-untyped-call]
    made = machine(LocalWakeAction(["true"]))
    master: Any = made.master
    master.httpservice = HttpClient(reactor, RequestTraversalAgent(server))  # type: ignore[no-untyped-call]
    action = HttpAction(
        "http://power/on",
        "POST",
        params={"box": 1},
        json={"a": 1},
        headers={"X-A": Secret("a")},
        cookies={"b": "c"},
        auth=("me", "pw"),
    )
    assert await ensureDeferred(action.perform(made)) is True
    assert server.asked == (b"POST", b"/on?box=1", b"b=c", b"Basic bWU6cHc=", b"A", b'{"a":1}')
    server.status = 503
    with pytest.raises(MachineActionError, match="GET http://power/off answers 503"):
        await HttpAction("http://power/off", "GET").perform(made)


@pytest.mark.parametrize(
    ("method", "follow", "asked"),
    [
        ("GET", None, ["GET /", "GET /there"]),
        ("HEAD", None, ["HEAD /"]),
        ("POST", None, ["POST /"]),
        ("GET", False, ["GET /"]),
        ("HEAD", True, ["HEAD /", "HEAD /there"]),
        ("POST", True, ["POST /", "GET /there"]),
    ],
)
async def test_redirects(method: str, follow: bool | None, asked: list[str]) -> None:
    """`allow_redirects` holds for every method; without it only GET goes on."""

    def answer(request: Any) -> bytes:
        if request.uri == b"/":
            request.redirect(b"/there")
        return b""

    server = httpserver.Server(answer)
    made = machine(LocalWakeAction(["true"]))
    master: Any = made.master
    async with httpserver.serving(Site(server)) as (master.httpservice, url):
        assert await ensureDeferred(HttpAction(f"{url}/", method, allow_redirects=follow).perform(made)) is True
    assert [f"{each['method']} {each['uri']}" for each in server.asked] == asked


async def test_http_by_a_proxy() -> None:
    """A request uses the proxy of its scheme."""
    made = machine(LocalWakeAction(["true"]))
    master: Any = made.master
    master.httpservice = HttpClient(reactor)
    async with proxy() as (heads, address):
        await HttpAction("http://power.example/on", "GET", proxies={"http": f"http://{address}"}).perform(made)
    assert heads[0].startswith("GET http://power.example/on HTTP/1.1")


def test_equal() -> None:
    """A machine with equal arguments in a new configuration is equal."""
    assert machine(LocalWOLAction(MAC)).is_described_by(machine(LocalWOLAction(MAC)))
    assert not machine(LocalWOLAction(MAC)).is_described_by(machine(LocalWOLAction("00:11:22:aa:bb:cd")))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Machine(""), "Machine: name must be a text that is not empty, not ''"),
        (lambda: GenericLatentMachine("m"), "GenericLatentMachine 'm': argument 'start_action' is missing"),
        (lambda: GenericLatentMachine("m", 1, 2), "start_action must be an action such as"),
        (lambda: GenericLatentMachine("m", LocalWOLAction, 2), "start_action must be an action such as"),
        (lambda: LocalWOLAction("00:11"), "LocalWOLAction: wakeMac must be the address of a network card such as"),
        (lambda: LocalWakeAction([]), "LocalWakeAction: command must be a program and its arguments"),
        (lambda: HttpAction("ftp://x", "GET"), "HttpAction: url must"),
        (lambda: HttpAction("http://x", "GET", proxies={"ftp": "p"}), "proxies has the key 'ftp'"),
        (lambda: AbstractLatentMachine("m", missing_timeout=0), "missing_timeout must be"),
    ],
)
def test_mistakes(make: Callable[[], Any], complaint: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint in "; ".join(caught.value.errors)


async def test_class_of_ones_own() -> None:
    """A user's class may take its arguments as services do, by ``checkConfig`` and ``reconfigService``."""

    class Virtual(AbstractLatentMachine):
        def checkConfig(self, name: str, host: str, **kwargs: Any) -> None:
            super().checkConfig(name, **kwargs)

        @inlineCallbacks
        def reconfigService(self, name: str, host: str, **kwargs: Any) -> Generator[Any, Any, None]:
            yield super().reconfigService(name, **kwargs)
            self.host = host

        def start_machine(self) -> Any:
            return succeed(self.host == "here")

    made = Virtual("box", host="here", build_wait_timeout=5)
    master: Any = Recording()
    manager = MachineManager(master)
    await manager.configure([made])
    assert (made.name, made.build_wait_timeout, made.missing_timeout) == ("box", 5, 1200)
    assert await resolved(made.start_machine()) is True
    await manager.configure([Virtual("box", host="there", build_wait_timeout=6)])
    assert (made.host, made.build_wait_timeout) == ("there", 6)
    await manager.close()
    with pytest.raises(ConfigErrors, match="Virtual 'box': unknown argument 'waits'"):
        Virtual("box", host="here", waits=5)


async def test_arguments_that_fail() -> None:
    """A machine whose arguments fail does not affect other machines."""

    class Broken(AbstractLatentMachine):
        def reconfigService(self, *args: Any, **kwargs: Any) -> Any:
            raise OSError("no")

    manager = MachineManager(Recording())
    with capturedLogs() as logs:
        await manager.configure([Broken("one"), AbstractLatentMachine("two")])
    assert sorted(manager.machines) == ["one", "two"]
    assert any("could not take its arguments" in each["log_format"] for each in logs)
    await manager.close()


def test_nothing_said() -> None:
    """A user's class must implement the start and the stop of its machine."""
    made = AbstractLatentMachine("m", build_wait_timeout=-1)
    with pytest.raises(NotImplementedError, match="does not say how its machine is started"):
        made.start_machine()
    with pytest.raises(NotImplementedError, match="does not say how its machine is stopped"):
        made.stop_machine()
