"""Limits of clients that follow events: paths, and the time of replays."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www.errors import RefusedError
from buildbot.www.http.server import HttpServer
from buildbot.www.stream import limits, sse, ws
from buildbot.www.stream.feeds import Feed
from buildbot.www.stream.limits import Limits, check_room, checked_path
from tests.unit.www.clients import connect, raw, until
from tests.unit.www.test_feeds import announce
from tests.unit.www.test_front import client
from tests.unit.www.test_site import parse, request, serving

LONG = ["1/" + "ab/" * 20_000, "a/" * limits.MAX_SEGMENTS + "a", "x" * (limits.MAX_PATH_CHARS + 1)]


@pytest.mark.parametrize("path", LONG)
async def test_long_paths(master: FakeMaster, path: str) -> None:
    """A path longer than any event's is refused by both, and nothing of it is kept."""
    async with serving(master) as (server, port):
        socket = await connect(port)
        for command in ("startConsuming", "stopConsuming"):
            reply = await socket.ask(_id=1, cmd=command, path=path)
            assert (reply["code"], "at most" in reply["error"]) == (400, True)
        if len(path) < 10_000:
            status, _, body = parse(await raw(port, request("GET", f"/sse/listen/{path}")))
            assert (status, b"at most" in body) == (400, True)
        assert server._limits.paths == 0
        socket.sendClose()
        await socket.closed


async def test_many_paths(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit for each client, and one for all together; a path that is given up makes room."""
    monkeypatch.setattr(limits, "MAX_PATHS", 3)
    monkeypatch.setattr(limits, "MAX_ALL_PATHS", 5)
    async with serving(master) as (server, port):
        one, two = await connect(port), await connect(port)

        async def start(following: Any, number: int) -> int:
            return int((await following.ask(_id=1, cmd="startConsuming", path=f"builds/{number}/*"))["code"])

        assert [await start(one, number) for number in range(4)] == [200, 200, 200, 429]
        assert await start(one, 1) == 200  # it has that one
        assert [await start(two, number) for number in range(3)] == [200, 200, 503]
        assert (await one.ask(_id=1, cmd="stopConsuming", path="builds/0/*"))["code"] == 200
        assert await start(two, 2) == 200
        one.sendClose()
        await until(lambda: server._limits.paths == 3)
        two.sendClose()
        await until(lambda: server._limits.paths == 0)


async def test_many_commands_wait(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that come faster than they are served are kept up to a size, then the connection ends."""
    monkeypatch.setattr(ws, "MAX_WAITING_COMMAND_BYTES", 10_000)
    never: Deferred[None] = Deferred()
    monkeypatch.setattr(Limits, "wait", lambda self, address: never)
    async with serving(master) as (_, port):
        socket = await connect(port)
        socket.send(_id=1, cmd="startConsuming", path="builds/*/*", since=0)
        for _ in range(50):
            socket.send(_id=1, cmd="ping", x="y" * 5000)
        await socket.closed
        assert socket.code == 1008


async def test_many_clients(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that follow leave descriptors for those that only ask."""
    for module in (ws, sse):
        monkeypatch.setattr(module, "MAX_CLIENTS", 1)
    async with serving(master) as (_, port):
        socket = await connect(port)
        sent = request("GET", "/ws", Upgrade="websocket", Sec_WebSocket_Version="13", Sec_WebSocket_Key="A" * 22 + "==")
        reply = await raw(port, sent.replace(b"Connection: close", b"Connection: Upgrade"))
        assert parse(reply)[0] == 503
        assert parse(await raw(port, request("GET", "/health")))[0] == 200
        socket.sendClose()
        await socket.closed


def test_room_for_clients() -> None:
    """An address has four of five places to follow events from; a proxy of this machine may have all."""
    check_room("192.0.2.1", ["192.0.2.1"] * 3, 5)
    for clients, status in ((["192.0.2.1", "::ffff:192.0.2.1"] * 2, 429), (["192.0.2.9"] * 5, 503)):
        with pytest.raises(RefusedError) as caught:
            check_room("192.0.2.1", clients, 5)
        assert caught.value.status == status
    check_room("192.0.2.1", ["2001:db8::1"] * 4, 5)
    check_room("127.0.0.1", ["127.0.0.1"] * 4, 5)


async def test_streams_without_a_reader(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A HEAD keeps no place; a stream that waits for its turn to be replayed has one, until its client goes."""
    monkeypatch.setattr(sse, "MAX_CLIENTS", 2)
    never: Deferred[None] = Deferred()
    async with serving(master) as (server, port):
        for path in ("/sse/listen/builds/*/*", "/sse", "/sse/listen/builds/*/*?since=x"):
            for _ in range(3):
                await raw(port, request("HEAD", path))
        assert (server._streams.clients, server._limits.paths) == (0, 0)
        monkeypatch.setattr(Limits, "wait", lambda self, address: never)
        waiting = [await client(port) for _ in range(2)]
        for each in waiting:
            each.transport.write(request("GET", "/sse/listen/builds/*/*?since=0"))
        await until(lambda: server._streams.clients == 2)
        assert parse(await raw(port, request("GET", "/sse/listen/builds/*/*?since=0")))[0] == 503
        for each in waiting:
            each.transport.abortConnection()
        await until(lambda: server._streams.clients == 0)
        assert server._limits.paths == 0


async def test_many_connections(master: FakeMaster) -> None:
    """One that says nothing gives way to a new one."""
    async with serving(master) as (server, port):
        front = server._front
        assert isinstance(front, HttpServer)
        front.most = 3
        silent = [await client(port) for _ in range(3)]
        await until(lambda: len(front.connections) == 3)
        for _ in range(3):
            assert parse(await raw(port, request("GET", "/health")))[0] == 200
        assert silent[0].lost.called


class Replays:
    """Budgets whose time a test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.limits = Limits(self.clock)

    def wait(self, address: str) -> Deferred[None]:
        return ensureDeferred(self.limits.wait(address))

    def seconds(self, address: str) -> float:
        """How long it waits now."""
        waiting, waited = self.wait(address), 0.0
        while not waiting.called:
            self.clock.advance(0.1)
            waited += 0.1
        return waited


def test_a_page_that_comes_back_is_served_at_once() -> None:
    """A second of reading is free."""
    replays = Replays()
    for _ in range(9):
        assert replays.seconds("a") == 0
        replays.limits.took("a", 0.1)
    assert replays.seconds("a") == 0


def test_a_client_that_asks_again_and_again_waits() -> None:
    """An address has a tenth of the time after that, another its own, and all together a quarter."""
    replays = Replays()
    replays.limits.took("a", 1.5)
    assert replays.seconds("a") == pytest.approx(5, abs=0.2)
    assert replays.seconds("b") == 0
    replays.clock.advance(100)
    for number in range(4):
        replays.limits.took(f"a{number}", 0.75)
    assert replays.seconds("new") == pytest.approx(4, abs=0.2)


def test_addresses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of stored addresses has a limit."""
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 10)
    replays = Replays()
    for number in range(100):
        replays.limits.took(f"a{number}", 0.001)
    assert len(replays.limits._addresses) == 10


async def test_a_replay_keeps_to_its_budget(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the subscription and its reading wait where nothing is left; then all comes, in order."""
    begin = await announce(master, "builds/1/new")
    await announce(master, *(f"builds/{number}/new" for number in range(2, 400)))
    shared = Limits(master.reactor)
    waits: list[str] = []

    async def wait(address: str) -> None:
        waits.append(address)

    monkeypatch.setattr(shared, "wait", wait)
    got: list[int] = []
    feed = Feed(master.data, lambda event, key: got.append(event.seq), lambda: None, shared, "192.0.2.1")
    await feed.start("builds/*/*", begin)
    await until(lambda: len(got) == 398)
    assert got == sorted(got)
    assert waits == ["192.0.2.1"] * 5  # once to begin, and for each hundred
    assert shared._addresses["192.0.2.1"].left_s < limits.ADDRESS_BURST_S
    feed.close()
    assert shared.paths == 0


def test_paths_that_events_have() -> None:
    """The longest path of the vocabulary is far below the limit."""
    assert checked_path("masters/1/builders/2/builds/3/steps/4/logs/5/contents/append") != ""
    with pytest.raises(RefusedError):
        checked_path("/" * limits.MAX_SEGMENTS)
