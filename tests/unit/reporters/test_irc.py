"""The bot on a real IRC server, and its commands."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.words.protocols.irc import IRCClient

from buildbot.config import ConfigErrors
from buildbot.reporters import irc
from buildbot.reporters.chat import Room, Teller, authz, events_of, may
from buildbot.reporters.chatcommands import Commands
from buildbot.reporters.irc import IRC
from buildbot.test.reporters import ReporterHarness
from buildbot.test.running import until
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SUCCESS, WARNINGS
from tests.support.ports import free_port
from tests.support.reactor import reactor
from tests.unit.util.test_httpclient import make_certificate

NGIRCD = shutil.which("ngircd") or "/usr/sbin/ngircd"
needs_ngircd = pytest.mark.skipif(not Path(NGIRCD).exists(), reason="no ngircd; apt-get install ngircd")


class Server:
    """ngircd on a port of its own."""

    def __init__(self, directory: Path, port: int, pem: Path | None = None) -> None:
        tls = f"[SSL]\nCertFile = {pem}\nKeyFile = {pem}\nPorts = {port}\n" if pem else ""
        self.port = port
        plain = "" if pem else f"Ports = {port}\n"
        self.config = directory / "ngircd.conf"
        self.config.write_text(
            f"[Global]\nName = irc.example.org\nListen = 127.0.0.1\n{plain}ServerUID = {_uid()}\n"
            "[Options]\nDNS = no\nIdent = no\nPAM = no\n[Limits]\nMaxConnectionsIP = 0\nMaxPenaltyTime = 0\n"
            f"{tls}[Channel]\nName = #locked\nKey = pw\nModes = k\n"
        )
        self.process: Any = None

    def start(self) -> None:
        """Run it; returns when it listens. It gives up where its former connections hold the port: it is run again."""
        self.process = None
        while True:
            if self.process is None or self.process.poll() is not None:
                self.process = subprocess.Popen([NGIRCD, "-n", "-f", str(self.config)], stdout=subprocess.DEVNULL)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def _uid() -> str:
    import getpass

    return getpass.getuser()


Untyped: Any = IRCClient


class Person(Untyped):  # type: ignore[misc]
    """A user in a channel."""

    nickname = "zoe"
    lineRate = None

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.ready: Deferred[None] = Deferred()

    def signedOn(self) -> None:
        self.join("#one")

    def joined(self, channel: str) -> None:
        self.ready.callback(None)

    def privmsg(self, user: str, channel: str, message: str) -> None:
        self.heard.append((user.partition("!")[0], channel, message))

    def noticed(self, user: str, channel: str, message: str) -> None:
        self.heard.append((user.partition("!")[0], f"notice {channel}", message))

    def userJoined(self, user: str, channel: str) -> None:
        self.heard.append((user, channel, "joins"))

    def action(self, user: str, channel: str, data: str) -> None:
        self.heard.append((user.partition("!")[0], channel, f"* {data}"))


async def person(port: int) -> Person:
    """A user who has joined, once the server runs."""
    while True:
        made = Person()
        factory: Any = ClientFactory()
        factory.buildProtocol = lambda _, made=made: made
        failed: list[Any] = []
        factory.clientConnectionFailed = lambda _, reason, failed=failed: failed.append(reason)
        factory.clientConnectionLost = factory.clientConnectionFailed
        reactor.connectTCP("127.0.0.1", port, factory)

        async def decided(made: Person = made, failed: list[Any] = failed) -> bool:
            return bool(failed) or made.ready.called

        await until(decided)
        if made.ready.called:
            return made
        await deferLater(reactor, 0.05, lambda: None)


async def hears(who: Person, check: Callable[[str, str, str], bool]) -> tuple[str, str, str]:
    """Wait until a user gets a message."""

    async def heard() -> Any:
        return next((each for each in who.heard if check(*each)), None)

    found: tuple[str, str, str] = await until(heard)
    return found


@asynccontextmanager
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> AsyncIterator[Any]:
    """A server, a bot and a person."""
    monkeypatch.setattr(irc._Client, "lineRate", None)
    port = free_port()
    server = Server(tmp_path, port)
    server.start()
    zoe = await person(port)
    given = {"host": "127.0.0.1", "port": port, "nick": "bot", "channels": ["#one"], "failedDelay": 0.05, **arguments}
    farm = ReporterHarness(IRC(**given))
    try:
        await farm.start()
        await hears(zoe, lambda who, where, text: (who, text) == ("bot", "joins"))
        yield farm, zoe, server, port
    finally:
        await farm.stop()
        zoe.transport.loseConnection()
        server.stop()


def _tells(where: str, said: str) -> Callable[[str, str, str], bool]:
    return lambda who, to, text: (to, text) == (where, said)


@needs_ngircd
async def test_builds_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wanted events are sent to the channel and in private, one message each."""
    async with running(
        tmp_path, monkeypatch, notify_events=["failure", "problem", "started"], pm_to_nicks=["zoe"],
        channels=["#one", {"channel": "#locked", "password": "pw"}],
    ) as (farm, zoe, _, _):  # fmt: skip
        await farm.build(SUCCESS)
        await farm.build(FAILURE, text="failed\nmake")
        failed = "Build [#2](https://ci/#/builders/1/builds/2) of `b one` \x034failed\x0f: failed make"
        for where in ("#one", "zoe"):
            await hears(zoe, _tells(where, failed))
        assert sum(text == failed for _, _, text in zoe.heard) == 2
        assert any("started." in text for _, _, text in zoe.heard)
        assert not any("successfully" in text for _, _, text in zoe.heard)


@needs_ngircd
async def test_commands_where_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are given in private, or in a channel after the bot's name; the answer goes there."""
    async with running(tmp_path, monkeypatch, noticeOnChannel=True, authz={"join": "zoe"}) as (_, zoe, _, _):
        zoe.msg("bot", "hello")
        await hears(zoe, lambda who, to, text: (to, text) == ("zoe", "Hello, zoe."))
        zoe.msg("#one", "hello everybody")
        zoe.msg("#one", "bot: version")
        await hears(zoe, lambda who, to, text: to == "notice #one" and "Tenfold" in text)
        zoe.describe("#one", "kicks bot")
        await hears(zoe, lambda who, to, text: text == "* kicks back at zoe")
        zoe.msg("bot", "force build b reason")
        await hears(zoe, lambda who, to, text: "You may not do that, zoe" in text)
        assert not any("everybody" in text for _, _, text in zoe.heard)


@needs_ngircd
async def test_a_server_that_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bot connects again, joins its channels, and has their events."""
    async with running(tmp_path, monkeypatch, lostDelay=0.05) as (farm, zoe, server, port):
        zoe.msg("bot", "notify on success")
        await hears(zoe, lambda who, to, text: "success" in text)
        bot = farm.services[0]
        former = bot.client
        server.stop()
        server.start()
        again = await person(port)

        async def is_back() -> bool:
            return bot.client not in (None, former) and "#one" in bot.client.in_channel

        await until(is_back)
        await farm.build(SUCCESS)
        await hears(again, lambda who, to, text: to == "zoe" and "completed successfully" in text)
        again.transport.loseConnection()


@needs_ngircd
async def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrusted certificate is refused, unless ``verify`` is False."""
    port = free_port()
    server = Server(tmp_path, port, make_certificate(tmp_path, "irc.example.org"))
    server.start()
    bots = [
        IRC("127.0.0.1", "bot", ["#one"], port=port, useSSL=True, verify=verify, failedDelay=0.05, lostDelay=0.05,
            name=f"verify {verify}")
        for verify in (True, False)
    ]  # fmt: skip
    farm = ReporterHarness(*bots)
    await farm.start()

    async def connected() -> bool:
        return bots[1].client is not None

    await until(connected)
    assert bots[0].client is None
    await farm.stop()
    server.stop()


def test_sasl() -> None:
    """CAP, AUTHENTICATE and CAP END; no PASS."""
    bot = IRC("h", "bot", [], password="hush", useSASL=True)
    bot.password, bot.useSASL, bot.nick = "hush", True, "bot"
    client = irc._Client(bot)
    transport: Any = StringTransport()
    setattr(client, "lineRate", None)  # noqa: B010
    client.makeConnection(transport)
    client.dataReceived(b":s CAP * ACK :sasl\r\nAUTHENTICATE +\r\n:s 903 bot :ok\r\n")
    lines = transport.value().decode().split("\r\n")
    login = base64.b64encode(b"bot\0bot\0hush").decode()
    assert [each for each in lines if each.startswith(("CAP", "AUTH", "PASS"))] == [
        "CAP REQ :sasl", "AUTHENTICATE PLAIN", f"AUTHENTICATE {login}", "CAP END",
    ]  # fmt: skip
    assert "NICK bot" in lines


@pytest.mark.parametrize(("results", "previous", "found"), [
    (SUCCESS, None, {"finished", "success"}),
    (RETRY, SUCCESS, {"finished"}),
    (FAILURE, SUCCESS, {"finished", "failure", "problem", "worse"}),
    (EXCEPTION, FAILURE, {"finished", "exception", "worse"}),
    (SUCCESS, EXCEPTION, {"finished", "success", "recovery", "better"}),
    (WARNINGS, FAILURE, {"finished", "warnings", "recovery", "better"}),
    (CANCELLED, SUCCESS, {"finished", "cancelled", "worse"}),
])  # fmt: skip
def test_events(results: int, previous: int | None, found: set[str]) -> None:
    """The events at the end of a build."""
    assert events_of(results, previous) == found


@pytest.mark.parametrize(("rules", "command", "allowed"), [
    ({}, "status", True), ({}, "force", False), ({}, "join", False), ({"!": True}, "force", True),
    ({"!": True}, "join", False), ({"join": True}, "join", True), ({"": False}, "status", False),
    ({("force", "stop"): ["Zoe"]}, "stop", True), ({"force": "ann"}, "force", False),
    ({"": ["ann"], "status": True}, "status", True),
])  # fmt: skip
def test_who_may_what(rules: dict[Any, Any], command: str, allowed: bool) -> None:
    """Entries of commands win over those for all; commands that change something need an entry."""
    assert may(authz(rules), command, "zoe") is allowed


class Bot:
    """A bot without a server."""

    nick = "bot"

    def __init__(self) -> None:
        self.rooms: list[str] = []
        self.changed: list[Room] = []

    def join_room(self, name: str) -> None:
        self.rooms.append(f"+{name}")

    def leave_room(self, name: str) -> None:
        self.rooms.append(f"-{name}")

    async def events_changed(self, room: Room) -> None:
        self.changed.append(room)


class Asking(ReporterHarness):
    """A user who gives commands."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(reactor=Clock())
        self.said: list[tuple[str, str]] = []
        self.teller = Teller(
            self.master, lambda room, text: self.said.append((room, text)), lambda results: str(results)
        )
        self.bot = Bot()
        self.commands = Commands(self.master, self.bot, self.teller, authz({"!": True, **rules}))
        self.room = self.teller.room("zoe")

    async def setup(self) -> None:
        """Builders, workers, builds."""
        update = self.master.data.update
        described: dict[str, Any] = {"description": None, "description_format": None, "tags": [], "projectid": None}
        await update.setBuilders([{"name": name, **described} for name in ("b one", "two")])
        await update.workerConnected(await update.findWorkerId("w"), {})
        await update.findWorkerId("gone")
        await self.build(FAILURE)

    async def ask(self, line: str) -> str:
        """The answer."""
        return "\n".join(await self.commands.answer("zoe", self.room, line))


async def test_questions() -> None:
    """list, status and last show builders, workers, changes and builds."""
    farm = Asking()
    await farm.setup()
    assert await farm.ask("list builders") == "Builders: `b one`, `two`"
    assert await farm.ask("list workers") == "Workers: `w`"
    assert await farm.ask("list all workers") == "Workers: `gone`, `w`"
    assert await farm.ask("list changes") == "There are no changes."
    await farm.master.data.update.addChange(author="Ann", comments="one\ntwo", revision="r", files=[], branch="main")
    assert await farm.ask("list 3 changes") == "Ann:  main r: one"
    assert "is idle, last build 0 seconds ago: failure" in await farm.ask("status 'b one'")
    assert "Builder `two` is idle." in await farm.ask("status")
    assert await farm.ask("status nine") == "no such builder 'nine'"
    assert "Build [#1](https://ci/#/builders/2/builds/1) failed 0 seconds ago" in await farm.ask("last 'b one'")
    assert "has not built anything yet" in await farm.ask("last all")
    assert await farm.ask("watch two") == "There are no builds of `two` running now."


async def test_orders() -> None:
    """Builds are requested, watched and stopped."""
    farm = Asking()
    await farm.setup()
    await farm.teller.start()
    answer = await farm.ask("force build --branch=b --props=p=1,q=2 two it's time")
    assert answer.startswith("Build request 2 of `two` is made.")
    (request,) = await farm.master.data.get({"filters": {"complete": False}}, ("buildrequests",))
    buildset = await farm.master.data.get({}, ("buildsets", request["buildsetid"]))
    properties = await farm.master.data.get({}, ("buildsets", request["buildsetid"], "properties"))
    assert buildset["sourcestamps"][0]["branch"] == "b" and "it's time" in buildset["reason"]
    assert (properties["owner"][0], properties["p"][0], properties["q"][0]) == ("zoe", "1", "2")
    buildid = await farm.begin(request["buildrequestid"])
    assert "is running: Build [#1]" in await farm.ask("status two")
    assert "I tell you when Build [#1]" in await farm.ask("watch two")
    assert "is stopped" in await farm.ask("stop build two no more of it")
    stopped = farm.master.db.builds.thdUnfinished
    ((_, reason, _),) = await farm.master.db.pool.read(stopped, [request["buildrequestid"]])
    assert reason == "by zoe: no more of it"
    await farm.end(buildid, CANCELLED, "cancelled")
    farm.master.reactor.pump([0.0] * 10)
    ((room, text),) = farm.said
    assert room == "zoe" and text.endswith("of `two` 6: cancelled")
    await farm.teller.stop()


async def test_what_is_told() -> None:
    """Events are turned on and off; mute; workers."""
    farm = Asking()
    await farm.setup()
    await farm.teller.start()
    assert "finished, started" in await farm.ask("notify on")
    assert "none" in await farm.ask("notify off")
    assert await farm.ask("notify on worker worse") == "The following events are being notified: worker, worse"
    assert len(farm.bot.changed) == 3
    for line in ("notify", "notify on nothing", "notify perhaps"):
        assert (await farm.ask(line)).startswith("Try 'notify on|off|list [EVENT ...]'. Events are started")
    for event in ("missing", "connected", "connected"):
        message = {"workerid": 1, "name": "w", "last_connection": "Sat Nov 28"}
        await farm.master.mq.produce(("workers", "1", event), message)
    farm.master.reactor.pump([0.0] * 10)
    assert [text for _, text in farm.said] == [
        "Worker `w` is missing. It was seen last on Sat Nov 28.", "Worker `w` is back online.",
    ]  # fmt: skip
    await farm.ask("mute")
    await farm.build(EXCEPTION)
    farm.master.reactor.pump([0.0] * 10)
    assert len(farm.said) == 2 and await farm.ask("unmute") == "I tell of builds again."
    await farm.teller.stop()


async def test_the_rest() -> None:
    """Help, channels, jokes and mistakes."""
    farm = Asking(join=True, leave=True)
    farm.master.is_leaving = False
    farm.master.leave = lambda: setattr(farm.master, "is_leaving", True)
    farm.master.stay = AsyncMock(side_effect=lambda: setattr(farm.master, "is_leaving", False))
    expected = (
        "commands dance destroy force hello help hustle join last leave list mute notify shutdown source status stop"
    )
    assert await farm.ask("commands") == f"Commands: {expected} unmute version watch"
    assert "status - the current builds of builders" in await farm.ask("help")
    assert await farm.ask("help last") == "Usage: last [BUILDER|all] - the results of the last builds"
    assert "I do not know 'sudo'. Commands:" in await farm.ask("sudo make")
    assert await farm.ask("join #x") == "I go to #x." and await farm.ask("leave #x") == "I leave #x."
    assert farm.bot.rooms == ["+#x", "-#x"] and await farm.ask("join x") == "Try 'join #CHANNEL'."
    for line in ("hello", "dance", "destroy", "hustle", "version", "source", "shutdown check"):
        assert await farm.ask(line)
    for line in ("force", "force build", "stop build two", "list", "list 5 things", "shutdown", "watch", "last a b"):
        assert (await farm.ask(line)).startswith("Try '"), line
    assert await farm.ask("") == ""
    stopped: list[bool] = []
    farm.master.reactor.stop = lambda: stopped.append(True)
    assert await farm.ask("shutdown stop") == "I was not about to stop."
    assert await farm.ask("shutdown start") == "I start no more builds, and stop when those that run have ended."
    assert await farm.ask("shutdown check") == "I am running; 0 builds are, too. I stop when they have ended."
    assert await farm.ask("shutdown stop") == "I go on." and farm.master.is_leaving is False
    assert await farm.ask("shutdown now") == "I stop now."
    farm.master.reactor.advance(1)
    assert stopped == [True]


@pytest.mark.parametrize(("arguments", "said"), [
    ({"channels": "#one"}, "channels must be a list"),
    ({"channels": ["one"]}, "channels element 1 must be '#name'"),
    ({"channels": [{"channel": "#one", "pw": "x"}]}, "channels element 1 must be '#name'"),
    ({"allowForce": 1}, "allowForce must be True or False"),
    ({"allowForce": True, "authz": {}}, "give authz, or allowForce and allowShutdown, not both"),
    ({"authz": {"force": 3}}, r"authz \['force'\] must be True, False, or a list of nicks"),
    ({"useSASL": True}, "useSASL needs a password"),
    ({"notify_events": 3}, "notify_events must be a list or set of events"),
])  # fmt: skip
def test_mistakes(arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors, match=said):
        IRC(**{"host": "h", "nick": "n", "channels": ["#one"], **arguments})
