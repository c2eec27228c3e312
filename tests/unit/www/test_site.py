"""The server on a real socket: faults that only the transport can have."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.logger import capturedLogs

from buildbot.test.fake.fakedb import FakeMaster
from buildbot.util.callbacks import callbacks_of
from buildbot.www.auth import UserPasswordAuth
from buildbot.www.http import parser as parsing
from buildbot.www.site import WwwServer
from buildbot.www.stream import ws
from tests.support.reactor import reactor
from tests.unit.www.clients import WsClient, connect, raw, turn, until
from tests.unit.www.farm import Farm
from tests.unit.www.test_front import Client


@asynccontextmanager
async def serving(master: FakeMaster, **www: Any) -> AsyncIterator[tuple[WwwServer, int]]:
    server = WwwServer(master, {"port": 0, **www}, "http://localhost:1/")
    await server.start()
    assert server.port is not None
    try:
        yield server, server.port
    finally:
        await server.stop()


async def a_build(master: FakeMaster, log: str = "") -> tuple[Farm, int]:
    """A farm whose build 1 runs, with step 1 that has log 1."""
    farm = Farm(master)
    await farm.configure({"linux": ["fast"]}, ["w1"])
    build = await farm.build("linux", "w1")
    step = await build.step("compile it")
    await build.log(step, log or "ohello\n")
    return farm, build.buildid


async def clock(master: FakeMaster) -> int:
    newest, _ = await master.mq.clock()
    return newest


def request(method: str, path: str, body: bytes = b"", /, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def parse(reply: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, value in pairs}, body


async def get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    status, got, body = parse(await raw(port, request("GET", path, Accept="application/json", **headers)))
    return status, got, json.loads(body)


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST.:8010", True),
        ("ci.localhost", True),
        ("127.0.0.1:8010", True),
        ("[::1]:8010", True),
        ("192.0.2.1", True),
        (socket.gethostname(), True),
        ("ci.example.org", True),
        ("a.b.example.net:80", True),
        ("evil.example:8010", False),
        ("example.net", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("ci.example.org.evil.example", False),
        ("127.0.0.1@evil.example", False),
        ("[::1].evil.example", False),
    ],
)
async def test_host(master: FakeMaster, host: str, known: bool) -> None:
    """Requests under another host name are refused: another page's name could be made to point here."""
    server = WwwServer(master, {"port": 0, "allowed_hosts": ["*.Example.net"]}, "https://ci.example.org/")
    await server.start()
    try:
        for path in ("/api/v2/workers", "/", "/config", "/sse/listen", "/ws", "/change_hook/poller", "/metrics"):
            sent = request("GET", path).replace(b"Host: localhost", f"Host: {host}".encode())
            if path in ("/sse/listen", "/ws") and known:
                continue  # would go on for ever
            if path == "/ws":
                upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                sent = sent.replace(b"Connection: close\r\n", upgrade + b"Sec-WebSocket-Key: " + b"A" * 22 + b"==\r\n")
            status = parse(await raw(server.port or 0, sent))[0]
            assert (status == 403) is not known, path
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "stop", "params": {}}).encode()
        sent = request("POST", "/api/v2/builds/1", body, Content_Type="application/json")
        status = parse(await raw(server.port or 0, sent.replace(b"Host: localhost", f"Host: {host}".encode())))[0]
        assert (status == 403) is not known
        for path in ("/health", "/ready"):
            sent = request("GET", path).replace(b"Host: localhost", f"Host: {host}".encode())
            assert parse(await raw(server.port or 0, sent))[0] == 200
    finally:
        await server.stop()


async def test_get_and_head(master: FakeMaster) -> None:
    """HEAD is GET without the body."""
    await a_build(master)
    async with serving(master) as (_, port):
        status, headers, body = parse(await raw(port, request("GET", "/api/v2/builds/1", Accept="application/json")))
        assert status == 200
        assert json.loads(body)["builds"][0]["state_string"] == "building"
        assert headers["content-length"] == str(len(body))
        assert headers["x-tenfold-clock"] == str(await clock(master))
        assert "server" not in headers
        head = parse(await raw(port, request("HEAD", "/api/v2/builds/1", Accept="application/json")))
        assert (head[0], head[1]["content-length"], head[2]) == (200, str(len(body)), b"")


async def test_every_collection(master: FakeMaster) -> None:
    """Every path of the Data API is served: collections with their total, singles as one element."""
    await a_build(master)
    async with serving(master) as (_, port):
        for endpoint in master.data.endpoints():
            if endpoint.kind in ("raw", "raw_inline"):
                continue
            parts = endpoint.path.parts if endpoint.path.pattern else ()
            path = "/".join(["api", "v2", *("1" if part.startswith("n:") else part.split(":")[-1] for part in parts)])
            status, _, body = await get(port, f"/{path}")
            assert status in (200, 404), path
            if status == 200:
                assert isinstance(body[endpoint.plural], list)
                assert ("total" in body["meta"]) == endpoint.is_collection


async def test_links_are_for_python(master: FakeMaster) -> None:
    """Links are no attributes of replies, unless ``expand`` replaces them by their targets."""
    await a_build(master)
    async with serving(master) as (_, port):
        _, _, body = await get(port, "/api/v2/builds/1")
        assert {"builder", "worker", "steps", "buildrequest"}.isdisjoint(body["builds"][0])
        _, _, body = await get(port, "/api/v2/builds?expand=builder&expand=buildrequest.buildset")
        build = body["builds"][0]
        assert build["builder"]["name"] == "linux"
        assert "builds" not in build["builder"]
        assert build["buildrequest"]["buildset"]["reason"] == "because"
        assert "worker" not in build
        assert (await get(port, "/api/v2/builds?expand=nonsense"))[0] == 400


async def test_options_of_singles(master: FakeMaster) -> None:
    """``order``, ``limit`` and ``offset`` mean nothing for one resource and are no error."""
    await a_build(master)
    async with serving(master) as (_, port):
        assert (await get(port, "/api/v2/builds/1?order=number&limit=5&offset=2"))[0] == 200


async def test_not_modified_until_something_happens(master: FakeMaster) -> None:
    """A validator holds while the clock stands still, and not after the next event."""
    farm, buildid = await a_build(master)
    async with serving(master) as (_, port):
        _, headers, _ = await get(port, "/api/v2/builds")
        sent = request("GET", "/api/v2/builds", Accept="application/json", If_None_Match=headers["etag"])
        assert parse(await raw(port, sent))[0] == 304
        await farm.update.setBuildStateString(buildid, "on")
        await turn()
        assert parse(await raw(port, sent))[0] == 200


async def test_encoded_segments(master: FakeMaster) -> None:
    """Segments are decoded one by one, so that a name may hold a slash."""
    farm = Farm(master)
    await farm.configure({"a b/c": []}, [])
    async with serving(master) as (_, port):
        status, _, body = await get(port, "/api/latest/builders/a%20b%2Fc")
        assert (status, body["builders"][0]["name"]) == (200, "a b/c")


async def test_actions(master: FakeMaster) -> None:
    """A POST from the page is served, one from elsewhere is not."""
    _, buildid = await a_build(master)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "rebuild", "params": {}}).encode()
    async with serving(master) as (_, port):

        async def post(**headers: str) -> int:
            sent = request("POST", f"/api/v2/builds/{buildid}", body, Content_Type="application/json", **headers)
            return parse(await raw(port, sent))[0]

        async def requests() -> int:
            return len(await master.data.get({}, ("buildrequests",)))

        assert await post(Origin="http://localhost:1") == 200
        assert await post(Origin="http://127.0.0.1:1") == 200
        assert await post() == 200
        assert await requests() == 4
        assert await post(Origin="http://evil.example") == 400
        assert await post(Origin="null") == 400
        assert await requests() == 4


async def test_cors(master: FakeMaster) -> None:
    """Allowed origins get the CORS headers, also for preflight requests."""
    async with serving(master, allowed_origins=["https://*.example"]) as (_, port):
        good = {"Origin": "https://Dash.example", "Access_Control_Request_Method": "POST"}
        status, headers, _ = parse(await raw(port, request("OPTIONS", "/api/v2/builds", **good)))
        assert (status, headers["access-control-allow-origin"]) == (200, "https://dash.example")
        assert headers["access-control-allow-headers"] == "Content-Type"
        status, headers, _ = parse(await raw(port, request("GET", "/api/v2/builds", Origin="https://dash.example")))
        assert (status, headers["access-control-allow-origin"]) == (200, "https://dash.example")
        for method in ("GET", "OPTIONS"):
            status, _, body = parse(await raw(port, request(method, "/api/v2/builds", Origin="https://evil")))
            assert (status, json.loads(body)) == (400, {"error": "invalid origin"})
        wrong = {**good, "Access_Control_Request_Method": "DELETE"}
        status, _, body = parse(await raw(port, request("OPTIONS", "/api/v2/builds", **wrong)))
        assert (status, json.loads(body)) == (400, {"error": "invalid method"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/api/v2/builds", 400),
        ("OPTIONS", "/api/v2/builds", 400),
        ("GET", "/api/v2/", 404),
        ("GET", "/api/v3/builds", 404),
        ("GET", "/api/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/page/../site.py", 404),
        ("GET", "/page/..%2fsite.py", 404),
        ("GET", "/%2e%2e/site.py", 404),
        ("GET", "/page", 404),
        ("GET", "/page/", 404),
        ("POST", "/config", 405),
        ("POST", "/", 405),
        ("GET", "/ws", 426),
        ("GET", "/api", 200),
        ("GET", "/config", 200),
        ("GET", "/", 200),
    ],
)
async def test_statuses(master: FakeMaster, method: str, path: str, status: int) -> None:
    """Each root answers as listed; nothing outside the page's files is reachable, nothing is listed."""
    async with serving(master) as (_, port):
        assert parse(await raw(port, request(method, path)))[0] == status


async def test_config(master: FakeMaster) -> None:
    """The configuration object has the page's settings and no secrets."""
    secrets = {"auth": UserPasswordAuth({"joe": "pw-1"}), "change_hook_dialects": {"github": {"secret": "pw-2"}}}
    async with serving(master, plugins={"grid_view": {}}, **secrets) as (_, port):
        text = parse(await raw(port, request("GET", "/config")))[2]
        assert b"pw-" not in text
        config = json.loads(text)
        assert config["buildbotURL"] == "http://localhost:1/"
        assert config["auth"] == {"name": "UserPasswordAuth"}
        assert config["user"] == {"anonymous": True}
        assert config["plugins"] == {"grid_view": {}}
        assert "change_hook_dialects" not in config


async def test_page_caching(master: FakeMaster) -> None:
    """The index is checked at every visit; the files it names never change."""
    async with serving(master) as (_, port):
        status, headers, index = parse(await raw(port, request("GET", "/")))
        assert (status, headers["cache-control"]) == (200, "no-cache")
        assert "default-src 'self'" in headers["content-security-policy"]
        again = parse(await raw(port, request("GET", "/", If_None_Match=headers["etag"])))
        assert (again[0], again[2]) == (304, b"")
        named = index.split(b'"page/')[1].split(b'"')[0].decode()
        status, headers, _ = parse(await raw(port, request("GET", f"/page/{named}")))
        assert (status, headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        old = "0" * 16 + named[16:]
        status, headers, _ = parse(await raw(port, request("GET", f"/page/{old}")))
        assert (status, headers["cache-control"]) == (200, "no-cache")


async def test_body_limit(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body over the limit is refused without being kept."""
    monkeypatch.setattr(parsing, "MAX_BODY_BYTES", 1000)
    async with serving(master) as (_, port):
        sent = request("POST", "/api/v2/builds/1", b"x" * 2000, Content_Type="application/json")
        assert parse(await raw(port, sent))[0] == 413


async def test_download_is_paced(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log is sent in chunks, whole, and read only as fast as the client takes it."""
    line = "x" * 99
    await a_build(master, f"o{line}\n" * 100_000)
    async with serving(master) as (_, port):
        reads: list[int] = []
        original = master.data.log_bytes

        def counted(*arguments: Any) -> Any:
            reads.append(1)
            return original(*arguments)

        monkeypatch.setattr(master.data, "log_bytes", counted)
        assert b"200 OK" in await raw(port, request("GET", "/api/v2/logs/1/raw"), until=b"\r\n\r\n")
        assert len(reads) < 4, "the whole log was read for a client that left at once"
        whole = await raw(port, request("GET", "/api/v2/logs/1/raw"))
        assert whole.count(line.encode()) >= 99_000
        assert b"Builder: linux\nBuild number: 1\nWorker name: w1\n" in whole


async def test_ws_protocol(master: FakeMaster) -> None:
    """Replies to commands, word by word."""
    async with serving(master) as (_, port):
        client = await connect(port)
        assert await client.ask(cmd="ping", _id=1) == {"msg": "pong", "code": 200, "_id": 1}
        started = await client.ask(cmd="startConsuming", path="builds/*/*", _id=[2])
        assert started == {"msg": "OK", "code": 200, "clock": await clock(master), "_id": [2]}
        assert (await client.ask(cmd="startConsuming", path="builds/*/*", _id=3))["code"] == 200
        assert (await client.ask(cmd="startConsuming", path="/any//thing/", _id=3))["code"] == 200
        assert await client.ask(cmd="stopConsuming", path="builds/*/*", _id=4) == {"msg": "OK", "code": 200, "_id": 4}
        assert await client.ask(cmd="stopConsuming", path="a/*", _id=6) == {
            "error": "path was not consumed 'a/*'",
            "code": 400,
            "_id": 6,
        }
        assert await client.ask(cmd="startConsuming", path=5, _id=3) == {
            "error": "invalid path format '5'",
            "code": 400,
            "_id": 3,
        }
        assert await client.ask(cmd="ping") == {
            "error": "no '_id' or 'type' in websocket frame",
            "code": 400,
            "_id": None,
        }
        assert (await client.ask(cmd="ping", type="x"))["code"] == 200
        assert await client.ask(_id=1) == {"error": "no 'cmd' in websocket frame", "code": 400, "_id": 1}
        assert await client.ask(cmd="nope", _id=2) == {"error": "no such command type 'nope'", "code": 404, "_id": 2}
        assert (await client.ask(cmd="startConsuming", _id=3))["error"] == "Invalid method argument 'path'"
        assert (await client.ask(cmd="ping", x=1, _id=3))["error"] == "Invalid method argument 'x'"
        assert (await client.ask(cmd="startConsuming", path="a", since="x", _id=3))["code"] == 400


async def test_ws_events(master: FakeMaster) -> None:
    """Events carry key, message and clock; ``since`` begins in the past, or says that it is gone."""
    await master.mq.produce(("builds", "0", "new"), {})
    await master.data.update.trimEvents(0)
    start = await clock(master)
    await master.mq.produce(("builds", "1", "new"), {"buildid": 1, "text": "grün"})
    async with serving(master) as (_, port):
        client = await connect(port)
        reply = await client.ask(cmd="startConsuming", path="builds/*/*", since=start, _id=1)
        assert (reply["code"], reply["clock"]) == (200, start)
        first = await client.frames.get()
        assert first == {"k": "builds/1/new", "m": {"buildid": 1, "text": "grün"}, "c": start + 1}
        await master.mq.produce(("builds", "2", "new"), None)
        assert await client.frames.get() == {"k": "builds/2/new", "m": None, "c": start + 2}
        gone = await client.ask(cmd="startConsuming", path="steps/*/*", since=str(start - 1), _id=2)
        assert (gone["code"], gone["_id"]) == (410, 2)
        future = await client.ask(cmd="startConsuming", path="steps/*/*", since=10**9, _id=3)
        assert future["code"] == 400


async def test_ws_bookmarks(master: FakeMaster) -> None:
    """An idle client that uses ``since`` gets the clock from time to time; others do not."""
    async with serving(master) as (server, port):
        modern, old = await connect(port), await connect(port)
        await modern.ask(cmd="startConsuming", path="builds/*/*", since=await clock(master), _id=1)
        await old.ask(cmd="startConsuming", path="builds/*/*", _id=1)
        await master.mq.produce(("steps", "1", "new"), {})
        sockets = server._sockets
        assert sockets is not None
        await until(lambda: all(one.feed.bookmark() in (None, master.mq.tail.position) for one in sockets.protocols))
        sockets._send_bookmarks()
        assert await modern.frames.get() == {"bookmark": await clock(master)}
        assert await old.ask(cmd="ping", _id=9) == {"msg": "pong", "code": 200, "_id": 9}


async def test_ws_bookmarks_beside_a_closing_client(master: FakeMaster) -> None:
    """A connection that is just being closed does not keep the others from their bookmarks."""
    async with serving(master) as (server, port):
        leaving = await connect(port)
        sockets = server._sockets
        assert sockets is not None
        await leaving.ask(cmd="startConsuming", path="builds/*/*", since=await clock(master), _id=1)
        closing = next(iter(sockets.protocols))
        staying = await connect(port)
        await staying.ask(cmd="startConsuming", path="builds/*/*", since=await clock(master), _id=1)
        await master.mq.produce(("steps", "1", "new"), {})
        await until(lambda: all(one.feed.bookmark() == master.mq.tail.position for one in sockets.protocols))
        closing._close(1000, "it is time")
        assert closing in sockets.protocols
        sockets._send_bookmarks()
        assert await staying.frames.get() == {"bookmark": await clock(master)}


@pytest.mark.parametrize("frame", [b"{", b"[]", b'"x"', b"\xff", b"1"])
async def test_ws_not_an_object(master: FakeMaster, frame: bytes) -> None:
    """A frame that is no JSON object drops the connection."""
    async with serving(master) as (_, port):
        client = await connect(port)
        client.send_bytes(frame, is_binary=True)
        await client.closed


async def test_ws_cut_frees_subscriptions(master: FakeMaster) -> None:
    """Subscriptions end with the connection."""
    async with serving(master) as (server, port):
        client = await connect(port)
        await client.ask(cmd="startConsuming", path="builds/*/*", _id=1)
        sockets = server._sockets
        assert sockets is not None
        feed = next(iter(sockets.protocols)).feed
        client.transport.abortConnection()
        await until(lambda: "builds/*/*" not in feed)
        assert not sockets.protocols


async def test_ws_slow_client_is_bounded(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read costs bounded memory, and gets every event once when it reads again."""
    monkeypatch.setattr(ws, "MAX_WAITING_BYTES", 50_000)
    async with serving(master) as (server, port):
        client = await connect(port)
        start = await clock(master)
        await client.ask(cmd="startConsuming", path="builds/*/*", since=start, _id=1)
        sockets = server._sockets
        assert sockets is not None
        feed = next(iter(sockets.protocols)).feed
        await until(lambda: feed.bookmark() == start)
        client.transport.pauseProducing()
        message = {"text": "x" * 20_000}
        sent = 0
        while feed.bookmark() is not None:
            await master.mq.produce(("builds", str(sent), "update"), message)
            sent += 1
            assert sent < 2000, "the server never stops to buffer for a client that does not read"
            await turn()
        for _ in range(100):
            await master.mq.produce(("builds", str(sent), "update"), message)
            sent += 1
        client.transport.resumeProducing()
        clocks = [(await client.frames.get())["c"] for _ in range(sent)]
        assert clocks == list(range(start + 1, start + 1 + sent))


async def test_events_are_framed_once(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many clients share one frame of an event."""
    async with serving(master) as (server, port):
        clients: list[WsClient] = [await connect(port) for _ in range(3)]
        for client in clients:
            await client.ask(cmd="startConsuming", path="builds/*/*", _id=1)
        made: list[Any] = []
        sockets = server._sockets
        assert sockets is not None
        original = ws._text_frame

        def text_frame(payload: bytes) -> bytes:
            made.append(payload)
            return original(payload)

        monkeypatch.setattr(ws, "_text_frame", text_frame)
        await turn()
        await master.mq.produce(("builds", "1", "new"), {"a": 1})
        for client in clients:
            await client.frames.get()
        assert len(made) == 1


async def test_ws_events_of_any_size(master: FakeMaster) -> None:
    """A frame has its length in one of three forms; a client gets events in each of them."""
    async with serving(master) as (_, port):
        client = await connect(port)
        await client.ask(cmd="startConsuming", path="builds/*/*", _id=1)
        await turn()
        for size in (1, *range(60, 130), 65_400, 65_536, 70_000):
            await master.mq.produce(("builds", "1", "new"), {"a": "x" * size})
            assert (await client.frames.get())["m"] == {"a": "x" * size}


async def test_sse(master: FakeMaster) -> None:
    """The handshake names the stream; events have the key as an array and the clock as id."""
    start = await clock(master)
    await master.mq.produce(("builds", "1", "new"), {"a": 1})
    async with serving(master) as (_, port):

        async def listen(path: str, **headers: str) -> str:
            return (await raw(port, request("GET", path, **headers), until=b'"key"')).decode()

        text = await listen("/sse/listen/builds/*/*", Last_Event_ID=str(start))
        assert "text/event-stream" in text
        assert "event: handshake\ndata: " in text
        assert f'event: event\nid: {start + 1}\ndata: {{"key":["builds","1","new"]' in text
        assert f"id: {start + 1}" in await listen(f"/sse/builds/*/*?since={start}")


async def test_named_paths(master: FakeMaster) -> None:
    """A WebSocket and a stream follow any path of the API, by names and numbers, too, with and without the wildcards
    of existing clients; each event comes under its own routing key.
    """
    update = master.data.update
    _, brids = await update.addBuildset(sourcestamps=[{}], builderNames=["b1", "b2"])
    await update.claimBuildRequests(list(brids.values()))
    builds = {name: await update.newBuild(brid) for name, brid in sorted(brids.items(), reverse=True)}
    mine, other = [(await update.newStep(builds[name], "compile"))["stepid"] for name in ("b1", "b2")]
    for path in ("builders/b1/builds/1/steps/0", f"builds/{builds['b1']}/steps/compile"):
        async with serving(master) as (_, port):
            client = await connect(port)
            for number, each in enumerate((path, f"{path}/*", f"{path}/updated", f"{path}/finished")):
                assert (await client.ask(cmd="startConsuming", path=each, _id=number))["code"] == 200
            assert (await client.ask(cmd="startConsuming", path="nothing/at/all", _id=9))["code"] == 200
            before = await clock(master)
            await update.setStepStateString(other, "theirs")
            await update.setStepStateString(mine, "mine")
            for _ in range(3):
                frame = await client.frames.get()
                assert frame["k"] in (f"steps/{mine}/updated", f"builds/{builds['b1']}/steps/{mine}/updated")
                assert frame["m"]["state_string"] == "mine"
            assert (await client.ask(cmd="ping", _id=10))["msg"] == "pong"
            for each in (path, f"{path}/*"):
                text = await raw(port, request("GET", f"/sse/listen/{each}?since={before}"), until=b'"key"')
                assert b'"mine"' in text
                assert b"theirs" not in text


@pytest.mark.parametrize("name", ["linux/x64", "50% faster", "a b", "größe", "%2F"])
async def test_paths_of_any_name(master: FakeMaster, name: str) -> None:
    """A path in which a name is percent-encoded, as in the addresses of REST, is followed as REST answers it."""
    update = master.data.update
    _, brids = await update.addBuildset(sourcestamps=[{}], builderNames=[name, "other"])
    await update.claimBuildRequests(list(brids.values()))
    path = f"builders/{quote(name, safe='')}/builds"
    async with serving(master) as (_, port):
        client = await connect(port)
        for number, each in enumerate((path, f"{path}/*/new", f"/{path}/")):
            assert (await client.ask(cmd="startConsuming", path=each, _id=number))["code"] == 200
        before = await clock(master)
        await update.newBuild(brids["other"])
        buildid = await update.newBuild(brids[name])
        assert [(await client.frames.get())["m"]["buildid"] for _ in range(3)] == [buildid] * 3
        assert (await client.ask(cmd="stopConsuming", path=path, _id=3))["code"] == 200
        text = await raw(port, request("GET", f"/sse/listen/{path}?since={before}"), until=b'"key"')
        assert f'"buildid":{buildid},'.encode() in text
        status, _, body = parse(await raw(port, request("GET", f"/api/v2/{path}")))
        assert (status, [each["buildid"] for each in json.loads(body)["builds"]]) == (200, [buildid])


async def test_sse_errors(master: FakeMaster) -> None:
    """Unknown streams, missing ids and clocks that are gone are said so."""
    await master.mq.produce(("builds", "1", "new"), {})
    await master.data.update.trimEvents(0)
    async with serving(master) as (_, port):
        for path, status, text in [
            ("/sse/add", 400, b"need uuid"),
            ("/sse/add/abc/builds/*/*", 400, b"unknown uuid"),
            ("/sse/remove/abc/builds/*/*", 400, b"unknown uuid"),
            ("/sse/listen/builds/*/*?since=x", 400, b"invalid since 'x'"),
            ("/sse/listen/builds/*/*?since=1", 410, b"are gone"),
        ]:
            got, _, body = parse(await raw(port, request("GET", path)))
            assert (got, text in body) == (status, True), path


async def test_reconfigure(master: FakeMaster) -> None:
    """New settings hold at once; connections stay as long as the address does."""
    async with serving(master) as (server, port):
        client = await connect(port)
        await server.reconfigure({"port": 0}, "http://new.example", "New")
        assert server.port == port
        config = json.loads(parse(await raw(port, request("GET", "/config")))[2])
        assert (config["title"], config["buildbotURL"]) == ("New", "http://new.example/")
        assert (await client.ask(cmd="ping", _id=1))["code"] == 200
        await server.reconfigure({"port": "tcp:0:interface=127.0.0.1:backlog=7"}, "http://new.example")
        assert server.port is not None
        await server.reconfigure({"port": None}, "http://new.example")
        assert server.port is None


async def test_streams_outlive_new_settings(master: FakeMaster) -> None:
    """A stream that was open before can be changed by its id afterwards."""
    async with serving(master) as (server, port):
        client = Client()
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), client)
        client.transport.write(b"GET /sse/listen HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: b"data: " in client.data and client.data.endswith(b"\n\n\r\n"))
        identifier = client.data.rpartition(b"data: ")[2].split()[0].decode()
        await server.reconfigure({"port": 0}, "http://new.example")
        assert parse(await raw(port, request("GET", f"/sse/add/{identifier}/builds/*/new")))[0] == 200
        await master.mq.produce(("builds", "1", "new"), {"a": 1})
        await until(lambda: b'"key":["builds","1","new"]' in client.data)
        client.transport.abortConnection()
        await client.lost


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 50, b"\x81\x05hello", b"\x8b\x80\0\0\0\0", b"\x81\xff" + b"\xff" * 8 + b"\0" * 4, b"GET / HTTP/1.1\r\n"],
    ids=["reserved bits", "no mask", "unknown opcode", "immense length", "HTTP again"],
)
async def test_ws_garbage(master: FakeMaster, garbage: bytes) -> None:
    """Bytes that are no frames of a client end the connection; others are served on."""
    async with serving(master) as (_, port):
        reply = await raw(port, HANDSHAKE + garbage)
        assert reply == b"" or reply.startswith(b"HTTP/1.1 101 ")
        assert (await get(port, "/api/v2/builds"))[0] == 200


def _masked(opcode: int, payload: bytes, size: int | None = None) -> bytes:
    size = len(payload) if size is None else size
    return struct.pack("!BBQ4x", 0x80 | opcode, 0xFF, size) + payload


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"\xff" * 50, 1002),
        (b"\x81\x05hello", 1002),
        (struct.pack("!BB4x", 0x8B, 0x80), 1002),
        (struct.pack("!BB4x", 0x81, 0x82) + b"\xff\xfe", 1007),
        (_masked(1, b"x" * 1000, 2**40), 1009),
        ((struct.pack("!BB4x", 0x81, 0xA2) + b'{"cmd":"ping","_id":"' + b"x" * 11 + b'"}') * 1500, 1008),
    ],
    ids=["reserved bits", "no mask", "unknown opcode", "no text", "too long", "too many"],
)
async def test_ws_says_why(master: FakeMaster, monkeypatch: pytest.MonkeyPatch, wrong: bytes, code: int) -> None:
    """The code of a close frame names the reason, and then the connection ends."""
    monkeypatch.setattr(ws, "MAX_WAITING_FRAMES", 50)
    if code == 1008:
        never: Deferred[None] = Deferred()
        monkeypatch.setattr(ws.Session, "handle", lambda *_: never)
    async with serving(master) as (server, port):
        client = await connect(port)
        client.transport.write(wrong)
        await client.closed
        assert client.code == code
        sockets = server._sockets
        assert sockets is not None
        await until(lambda: not sockets.protocols)


def _short(head: int, payload: bytes) -> bytes:
    return struct.pack("!BB4x", head, 0x80 | len(payload)) + payload


async def test_ws_message_in_pieces(master: FakeMaster) -> None:
    """A message may come in several frames, with a ping between them; a close frame is answered, and then the
    connection ends.
    """
    async with serving(master) as (_, port):
        pieces = [_short(0x01, b'{"cmd":"p'), _short(0x89, b"hi"), _short(0x00, b'ing","_id":1'), _short(0x80, b"}")]
        head, _, frames = (await raw(port, HANDSHAKE + b"".join(pieces), b"}")).partition(b"\r\n\r\n")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert frames == b'\x8a\x02hi\x81\x21{"msg":"pong","code":200,"_id":1}'
        closing = struct.pack("!H", 1000)
        assert (await raw(port, HANDSHAKE + _short(0x88, closing))).endswith(b"\x88\x02" + closing)


async def test_ws_endless_message(master: FakeMaster) -> None:
    """Frames that never finish a message are not kept without a limit."""
    async with serving(master) as (_, port):
        piece = struct.pack("!BBH4x", 0x00, 0xFE, 30_000) + b" " * 30_000
        first = struct.pack("!BBH4x", 0x01, 0xFE, 30_000) + b" " * 30_000
        reply = await raw(port, HANDSHAKE + first + piece * 2)
        assert reply.partition(b"\r\n\r\n")[2][2:4] == struct.pack("!H", 1009)


async def test_ws_silent_clients_are_dropped(master: FakeMaster) -> None:
    """A client that does not answer a ping is dropped; one that does stays."""
    async with serving(master) as (server, port):
        client = await connect(port)
        silent = ensureDeferred(raw(port, HANDSHAKE))
        sockets = server._sockets
        assert sockets is not None
        await until(lambda: len(sockets.protocols) == 2)
        sockets._ping()
        await until(lambda: any(one._was_heard for one in sockets.protocols))
        sockets._ping()
        assert (await silent).endswith(b"\x89\x00")
        assert (await client.ask(cmd="ping", _id=1))["msg"] == "pong"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [(b"Sec-WebSocket-Version: 13", 400), (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400), (b"GET /ws", 405)],
)
async def test_ws_bad_handshakes(master: FakeMaster, wrong: bytes, status: int) -> None:
    """An invalid handshake is refused."""
    async with serving(master) as (_, port):
        sent = HANDSHAKE.replace(wrong, b"POST /ws" if status == 405 else b"X-Other: y")
        assert int((await raw(port, sent)).split()[1]) == status


async def test_ws_flood(master: FakeMaster) -> None:
    """From a client that does not fetch its replies no more commands are read; it gets all of them in the end."""
    async with serving(master) as (server, port):
        client = await connect(port)
        sockets = server._sockets
        assert sockets is not None
        client.transport.pauseProducing()
        frame = b'{"cmd":"ping","_id":"%b"}' % (b"x" * 5_000)
        sent = 0
        while not next(iter(sockets.protocols))._paused:
            client.send_bytes(frame)
            sent += 1
            assert sent < 10_000, "the server keeps replies for a client that does not read"
            await turn()
        for _ in range(1000):
            client.send_bytes(frame)
        waiting = next(iter(sockets.protocols))._waiting.pending
        for _ in range(100):
            await turn()
            assert len(waiting) < 100
        client.transport.resumeProducing()
        for _ in range(sent + 1000):
            assert (await client.frames.get())["msg"] == "pong"


@pytest.mark.parametrize("since", ["9" * 21, "9" * 5000])
async def test_since_is_no_number_of_any_length(master: FakeMaster, since: str) -> None:
    """A ``since`` with more digits than any clock has is refused by SSE and WebSocket."""
    async with serving(master) as (_, port):
        status, _, text = parse(await raw(port, request("GET", f"/sse/listen/builds/*/*?since={since}")))
        assert (status, text) == (400, f"invalid since '{since[:20]}'".encode())
        client = await connect(port)
        answer = await client.ask(_id=1, cmd="startConsuming", path="builds/*/*", since=since)
        assert answer["code"] == 400
        client.dropConnection(abort=True)
        await client.closed


async def test_ws_failed_while_a_command_runs(master: FakeMaster) -> None:
    """A client whose next frame ends the connection gets no reply to the one before, and nothing is logged of it."""
    async with serving(master) as (server, port):
        with capturedLogs() as events:
            client = await connect(port)
            client.send(_id=1, cmd="startConsuming", path="builds/*/*")
            client.send_bytes(b"[]")
            await client.closed
            sockets = server._sockets
            assert sockets is not None
            await until(lambda: not sockets.protocols)
            await turn()
        assert not [event for event in events if "log_failure" in event]


async def test_callbacks(master: FakeMaster) -> None:
    """Services call parts of the master by POST, under any host name; the part gives the status."""
    heard: list[Any] = []

    async def called(headers: Mapping[str, str], body: bytes) -> int:
        heard.append((headers["x-a"], body))
        return 202

    callbacks_of(master)["bot/secret"] = called
    async with serving(master, auth=UserPasswordAuth({"a": "b"})) as (_, port):
        sent = request("POST", "/callback/bot/secret", b"{}", X_A="b").replace(b"Host: localhost", b"Host: elsewhere")
        assert parse(await raw(port, sent))[0] == 202 and heard == [("b", b"{}")]
        assert parse(await raw(port, request("POST", "/callback/bot/guess", b"{}")))[0] == 404
        assert parse(await raw(port, request("GET", "/callback/bot/secret")))[0] == 404
    del callbacks_of(master)["bot/secret"]
