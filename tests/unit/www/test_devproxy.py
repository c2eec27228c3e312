"""The page of this machine with the data of another master."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from click.testing import CliRunner
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol

from buildbot.scripts import dev_proxy
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.util import tcp
from buildbot.util.httpclient import HttpClient
from buildbot.www.app import plain_error
from buildbot.www.auth import UserPasswordAuth
from buildbot.www.devproxy import DevProxy, NoPageError
from buildbot.www.http.server import HttpServer
from tests.support.ports import free_port
from tests.support.reactor import reactor
from tests.unit.www.clients import connect, connecting, raw
from tests.unit.www.farm import Farm
from tests.unit.www.test_site import get, parse, request, serving


@asynccontextmanager
async def proxying(url: str, **arguments: Any) -> AsyncIterator[int]:
    """A proxy of another master; its port."""
    http = HttpClient(reactor)
    proxy = DevProxy(reactor, http, url, **{"plugins": {}, **arguments})
    server = HttpServer(reactor, proxy.handle, plain_error, proxy)
    listening: Any = await tcp.listen(reactor, "tcp:0:interface=127.0.0.1", server)
    try:
        yield listening.getHost().port
    finally:
        await maybeDeferred(listening.stopListening)
        await server.stop()
        await http.close()


async def status_of(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    return parse(await raw(port, request(method, path, body, **headers)))[0]


async def test_page_and_data(master: FakeMaster) -> None:
    """The files are this machine's, the data the other master's; the page gets this address and its own plugins."""
    farm = Farm(master)
    await farm.configure({"linux": ["fast"]}, ["w1"])
    async with serving(master) as (_, other), proxying(f"http://127.0.0.1:{other}/") as port:
        status, headers, page = parse(await raw(port, request("GET", "/")))
        assert status == 200 and b'id="app"' in page and headers["content-type"].startswith("text/html")
        config = (await get(port, "/config"))[2]
        assert config["title"] == (await get(other, "/config"))[2]["title"]
        assert config["buildbotURL"] == "http://localhost/" and config["plugins"] == {}
        status, headers, told = await get(port, "/api/v2/builders?name=linux")
        assert status == 200 and headers["content-type"].startswith("application/json")
        assert [each["name"] for each in told["builders"]] == ["linux"]
        assert (await get(port, "/api/v2/builders/99"))[0] == 404
        assert await status_of(port, "GET", "/no/such/file") == 404
        assert await status_of(port, "GET", "/sse/listen/builders") == 501


async def test_control(master: FakeMaster) -> None:
    """Calls are passed on as if they came from the other master's own page, with the session that the cookie says."""
    seen: list[dict[str, str]] = []

    class Other(Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            lines = data.decode().split("\r\n")[1:]
            seen.append({name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if value})
            self.transport.write(
                b"HTTP/1.1 302 Found\r\nLocation: http://there/x\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
            )

    listening = reactor.listenTCP(0, Factory.forProtocol(Other), interface="127.0.0.1")
    url = f"http://127.0.0.1:{listening.getHost().port}"
    async with proxying(url, cookie="abc") as port:
        sent = request("POST", "/api/v2/x", b"{}", Origin="http://localhost", Referer="http://localhost/", Cookie="c=d")
        status, headers, _ = parse(await raw(port, sent))
    assert (status, headers["location"], headers.get("set-cookie")) == (302, "http://there/x", None)
    assert seen[0]["origin"] == url and seen[0]["referer"] == f"{url}/"
    assert seen[0]["cookie"] == "TWISTED_SESSION=abc; tenfold_session=abc; __Host-tenfold_session=abc; c=d"
    await maybeDeferred(listening.stopListening)


async def test_websocket(master: FakeMaster) -> None:
    """Frames are passed on both ways, events too; one end's end is the other's."""
    async with serving(master) as (_, other), proxying(f"http://127.0.0.1:{other}") as port:
        client = await connect(port)
        assert await client.ask(_id=1, cmd="ping") == {"_id": 1, "msg": "pong", "code": 200}
        await client.ask(_id=2, cmd="startConsuming", path="workers/*/*")
        await master.data.update.workerConnected(await master.data.update.findWorkerId("w"), {})
        assert (await client.frames.get())["k"].startswith("workers/1/")
        client.transport.abortConnection()
        await client.closed
        client = await connect(port)
    await client.closed


async def test_websocket_that_is_refused(master: FakeMaster) -> None:
    """The answer is the other master's to the handshake, or that the other master cannot be reached."""
    rules: dict[str, Any] = {"auth": UserPasswordAuth({"a": "b"})}
    async with serving(master, **rules) as (_, other), proxying(f"http://127.0.0.1:{other}") as port:
        client = await connecting(port, {"Sec-WebSocket-Version": "7"})
        await client.closed
        assert client.frames.pending == []
    async with proxying(f"http://127.0.0.1:{free_port()}") as port:
        client = await connecting(port)
        await client.closed


@pytest.mark.parametrize("said", [b"", b"x" * 20_000, b"HTTP/1.1 200 OK\r\n\r\n", b"nonsense\r\n\r\n"])
async def test_handshake_that_is_none(said: bytes) -> None:
    """Another server that does not speak WebSocket is no reason to wait."""

    class Other(Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(said)
            self.transport.loseConnection()

    listening = reactor.listenTCP(0, Factory.forProtocol(Other), interface="127.0.0.1")
    async with proxying(f"http://127.0.0.1:{listening.getHost().port}") as port:
        client = await connecting(port)
        await client.closed
    await maybeDeferred(listening.stopListening)


async def test_no_other_master() -> None:
    """The answer says so; the files are there all the same."""
    async with proxying(f"http://127.0.0.1:{free_port()}") as port:
        status, _, body = parse(await raw(port, request("GET", "/api/v2/builders")))
        assert status == 502 and b"the connection is refused" in body
        assert await status_of(port, "GET", "/config") == 502
        assert await status_of(port, "GET", "/") == 200


async def test_pages_of_others(master: FakeMaster) -> None:
    """Requests with the user's session are refused to pages of other origins, and under another host name."""
    async with serving(master) as (_, other), proxying(f"http://127.0.0.1:{other}", cookie="abc") as port:
        assert await status_of(port, "POST", "/api/v2/builders/1", b"{}", Origin="http://evil.example") == 403
        sent = request("GET", "/api/v2/builders").replace(b"Host: localhost", b"Host: evil.example")
        assert parse(await raw(port, sent))[0] == 403
        client = await connecting(port, {"Origin": "http://evil.example"})
        await client.closed


async def test_views(master: FakeMaster) -> None:
    """With views it is the page of buildbot-www, whose configuration names them."""
    pytest.importorskip("buildbot_www", reason="the existing page's packages are not installed: script/setup dev")
    views = {"console_view": {"x": 1}}
    async with serving(master) as (_, other), proxying(f"http://127.0.0.1:{other}", plugins=views) as port:
        status, _, page = parse(await raw(port, request("GET", "/")))
        assert status == 200
        told = page.decode().partition("window.buildbotFrontendConfig = ")[2].partition(";\n</script>")[0]
        assert json.loads(told)["plugins"] == views
        assert await status_of(port, "GET", "/plugins/console_view/scripts.js") == 200
        assert await status_of(port, "GET", "/icon.svg") == 200
    with pytest.raises(NoPageError, match="a package with the view 'no_view' is not installed here"):
        DevProxy(reactor, HttpClient(reactor), "http://x", {"no_view": {}})


async def test_serve(master: FakeMaster, capsys: pytest.CaptureFixture[str]) -> None:
    """The command listens on this machine and says where."""
    async with serving(master) as (_, other):
        listening = await dev_proxy.serve(reactor, f"http://127.0.0.1:{other}", 0, {}, None, True)
        port = listening.getHost().port
        assert capsys.readouterr().out == f"http://localhost:{port}/ shows http://127.0.0.1:{other}\n"
        assert await status_of(port, "GET", "/api/v2/builders") == 200
        stopped: Deferred[Any] = maybeDeferred(listening.stopListening)
        await stopped


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing option '-b'"),
        (["-b", "there"], "must be a http:// or https:// URL, not 'there'"),
        (["-b", "http://x", "--plugins", "{"], "is no JSON"),
        (["-b", "http://x", "--plugins", "[]"], "must be an object"),
        (["-b", "http://x", "--port", "x"], "is not a valid integer"),
    ],
)
def test_wrong_arguments(arguments: list[str], said: str) -> None:
    """Each is named, and nothing is served."""
    result = CliRunner().invoke(dev_proxy.command, arguments)
    assert result.exit_code == 2 and said in result.output
