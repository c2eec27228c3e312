"""The bot on IRC: it notifies channels and users of builds, and answers commands."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ReconnectingClientFactory
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.irc import IRCClient

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.reporters.chat import VERBS, Room, one_line
from buildbot.reporters.chatbot import ChatBot, ChatPart
from buildbot.reporters.chatcommands import Commands
from buildbot.util.background import in_background
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS, WARNINGS

_log = Logger()

#: seconds between two lines; servers close connections that send faster
LINE_RATE_S = 0.3
#: seconds between two pings of the server
PING_S = 60.0
_COLOURS = {SUCCESS: 3, WARNINGS: 8, FAILURE: 4, EXCEPTION: 6, CANCELLED: 13}


def _channels(value: Any) -> list[dict[str, Any]]:
    found = []
    for number, each in enumerate(checks.sequence(value), 1):
        channel = {"channel": each} if isinstance(each, str) else each
        unknown = set(channel) - {"channel", "password"} if isinstance(channel, dict) else {"?"}
        name = None if unknown else channel.get("channel")
        if not isinstance(name, str) or not re.match(r"[#&][^\s,\x07]+\Z", name):
            raise ValueError(
                f"element {number} must be '#name' or {{'channel': '#name', 'password': '…'}}, not {checks.kind(each)}"
            )
        found.append(dict(channel))
    return found


_nicks = checks.list_of(checks.name)


#: Twisted's client has no types
_Untyped: Any = IRCClient


class _Client(_Untyped):  # type: ignore[misc]
    """A connection to the server."""

    lineRate = LINE_RATE_S
    realname = "Buildbot"

    def __init__(self, bot: IRC) -> None:
        self.bot = bot
        self.nickname = bot.nick
        self.username = bot.nick
        self.password = None if bot.useSASL else bot.password
        self.in_channel: set[str] = set()
        self._alive: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Log in."""
        if self.bot.useSASL:
            self._reallySendLine("CAP REQ :sasl")
        super().connectionMade()

    def irc_CAP(self, prefix: str, params: Sequence[str]) -> None:
        """The server lists its capabilities."""
        if len(params) > 2 and params[1] == "ACK" and "sasl" in params[2]:
            self.sendLine("AUTHENTICATE PLAIN")
        else:
            _log.error("{bot}: the server has no SASL", bot=self.bot.name)
            self.sendLine("CAP END")

    def irc_AUTHENTICATE(self, prefix: str, params: Sequence[str]) -> None:
        """The server asks for the password."""
        nick, password = self.bot.nick, self.bot.password or ""
        self.sendLine("AUTHENTICATE " + base64.b64encode(f"{nick}\0{nick}\0{password}".encode()).decode())

    def irc_unknown(self, prefix: str, command: str, params: Sequence[str]) -> None:
        """The server reports the result of SASL."""
        if command in ("903", "904", "905", "906", "907"):
            if command != "903":
                _log.error("{bot}: SASL failed: {said}", bot=self.bot.name, said=" ".join(params))
            self.sendLine("CAP END")

    def signedOn(self) -> None:
        """The login is complete: join the channels."""
        self.bot.factory_reset()
        if self.bot.password:
            self.sendLine(f"PRIVMSG Nickserv :IDENTIFY {self.bot.password}")
        for each in self.bot.channels:
            self.join(each["channel"], each.get("password"))
        self.bot.client = self
        self._say_alive()

    def _say_alive(self) -> None:
        self._alive = self.bot.master.reactor.callLater(PING_S, self._say_alive)
        self.ping(self.nickname)

    def joined(self, channel: str) -> None:
        """The bot has joined a channel."""
        self.in_channel.add(channel.lower())
        self.bot.teller.room(channel)

    def left(self, channel: str) -> None:
        """The bot has left a channel."""
        self.in_channel.discard(channel.lower())

    def kickedFrom(self, channel: str, kicker: str, message: str) -> None:
        """The bot was kicked from a channel."""
        _log.warn("{bot} was kicked from {channel} by {who}", bot=self.bot.name, channel=channel, who=kicker)
        self.left(channel)

    def privmsg(self, user: str, channel: str, message: str) -> None:
        """A user sent a message."""
        nick = user.partition("!")[0]
        if channel.lower() == self.nickname.lower():
            self.bot.hear(nick, nick, message)
            return
        addressed = re.match(rf"{re.escape(self.nickname)}[:,]\s*(.*)", message, re.IGNORECASE | re.DOTALL)
        if addressed:
            self.bot.hear(nick, channel, addressed[1])

    def action(self, user: str, channel: str, data: str) -> None:
        """A user sent an action (``/me``)."""
        if data.lower() == f"kicks {self.nickname.lower()}" and channel.lower() != self.nickname.lower():
            self.describe(channel, f"kicks back at {user.partition('!')[0]}")

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection is lost."""
        if self._alive is not None and self._alive.active():
            self._alive.cancel()
        if self.bot.client is self:
            self.bot.client = None
        super().connectionLost(reason)


class _Factory(ReconnectingClientFactory):
    noisy = False

    def __init__(self, bot: IRC) -> None:
        self.bot = bot
        self.ended: Deferred[None] = Deferred()

    def buildProtocol(self, addr: Any) -> _Client:
        return _Client(self.bot)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        self._again(connector, self.bot.lostDelay, (1.0, 5.0), "lost", reason)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._again(connector, self.bot.failedDelay, (45.0, 60.0), "failed", reason)

    def _again(
        self, connector: Any, given_s: float | None, usual: tuple[float, float], what: str, reason: Failure
    ) -> None:
        if not self.continueTrying:
            if not self.ended.called:
                self.ended.callback(None)
            return
        self.delay = random.uniform(*usual) if given_s is None else given_s
        _log.warn(
            "{bot}: the connection is {what} ({reason}); next try in {delay:.0f} s",
            bot=self.bot.name, what=what, reason=reason.value, delay=self.delay,
        )  # fmt: skip
        reactor: Any = self.bot.master.reactor
        self.clock = reactor
        self._callID = reactor.callLater(self.delay, connector.connect)


class IRC(ChatBot):
    """A bot on IRC. If several masters have a bot of the same name, one of them runs it."""

    name = "IRC"
    secrets = ("password", "channels")
    positional = (
        "host", "nick", "channels", "pm_to_nicks", "port", "allowForce", "tags", "password", "notify_events",
        "showBlameList", "useRevisions", "useSSL", "lostDelay", "failedDelay", "useColors", "allowShutdown",
        "noticeOnChannel", "authz",
    )  # fmt: skip

    host = argument(REQUIRED, checks.name, doc="the server")
    nick = argument(REQUIRED, checks.name, doc="the nick of the bot")
    channels = argument(
        (),
        _channels,
        renderable=True,
        doc="the channels that it joins: `#name`, or `{'channel': '#name', 'password': '…'}`",
    )
    pm_to_nicks = argument((), checks.optional(_nicks), doc="nicks that are notified in private")
    port = argument(6667, checks.whole_number(1), doc="the server's port")
    useSSL = argument(False, checks.boolean, doc="use TLS")
    verify = argument(True, checks.boolean, doc="check the server's certificate")
    password = argument(
        None, checks.optional(checks.text), renderable=True, doc="the password of the nick, for the server and NickServ"
    )
    useSASL = argument(False, checks.boolean, doc="log in by SASL PLAIN")
    useColors = argument(True, checks.boolean, doc="show results in colour")
    noticeOnChannel = argument(False, checks.boolean, doc="send messages to channels as NOTICE")
    lostDelay = argument(
        None,
        checks.optional(checks.number()),
        doc="seconds until it connects again after a lost connection; None: 1 to 5",
    )
    failedDelay = argument(
        None,
        checks.optional(checks.number()),
        doc="seconds until the next try after a failed connection; None: 45 to 60",
    )
    allowForce = argument(
        None, checks.optional(checks.boolean), doc="older form of `authz`: all users may `force` and `stop`"
    )
    allowShutdown = argument(
        None, checks.optional(checks.boolean), doc="older form of `authz`: all users may `shutdown`"
    )

    client: _Client | None = None

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, also those that exclude or need each other."""
        super().checkConfig(*args, **kwargs)
        given = self.by_name(args, kwargs)
        if given.get("authz") is not None and not (given.get("allowForce") is given.get("allowShutdown") is None):
            error(f"{self.name}: give authz, or allowForce and allowShutdown, not both")
        if given.get("useSASL") and not given.get("password"):
            error(f"{self.name}: useSASL needs a password")

    @property
    def rules(self) -> dict[str, Any]:
        """The permissions of users."""
        if self.authz is not None:
            return dict(self.authz)
        force, shutdown = bool(self.allowForce), bool(self.allowShutdown)
        return {"force": force, "stop": force, "shutdown": shutdown}

    def part(self) -> _Running:
        """As `ChatBot.part`."""
        return _Running(self)

    # called by the connection

    def factory_reset(self) -> None:
        """The bot has logged in."""
        _log.info("{bot} is on {host}", bot=self.name, host=self.host)

    def hear(self, user: str, room: str, line: str) -> None:
        """A user sent a command."""
        in_background(self.__answer(user, self.teller.room(room), line), f"answer of {self!r}")

    async def __answer(self, user: str, room: Room, line: str) -> None:
        commands = Commands(self.master, self, self.teller, self.rules)
        for each in await commands.answer(user, room, line):
            self.say(room.name, each)

    def say(self, room: str, text: str) -> None:
        """Send a message; it is lost while there is no connection."""
        client = self.client
        text = one_line(text)
        if client is None or not text:
            return
        if room.startswith(("#", "&")) and self.noticeOnChannel:
            client.notice(room, text)
        else:
            client.msg(room, text, 400)

    def verb(self, results: int | None) -> str:
        """The verb for the result of a build, in colour."""
        verb = VERBS[results]
        return f"\x03{_COLOURS[results]}{verb}\x0f" if self.useColors and results in _COLOURS else verb

    # called by commands

    def join_room(self, name: str) -> None:
        """As `Bot.join_room`."""
        if self.client is not None:
            self.client.join(name)

    def leave_room(self, name: str) -> None:
        """As `Bot.leave_room`."""
        if self.client is not None:
            self.client.leave(name)


class _Running(ChatPart):
    """The bot, while this master runs it."""

    def __init__(self, bot: IRC) -> None:
        super().__init__(bot)
        self._bot = bot
        self._factory: Any = None
        self._connector: Any = None

    async def start_work(self) -> None:
        """Connect."""
        bot = self._bot
        await self.tell((*(each["channel"] for each in bot.channels), *(bot.pm_to_nicks or ())))
        self._factory = _Factory(bot)
        reactor: Any = self.master.reactor  # Twisted's interface has other types for TLS
        if bot.useSSL:
            context = optionsForClientTLS(bot.host) if bot.verify else CertificateOptions(verify=False)
            self._connector = reactor.connectSSL(bot.host, bot.port, self._factory, context)
        else:
            self._connector = reactor.connectTCP(bot.host, bot.port, self._factory)

    async def stop_work(self) -> None:
        """Leave."""
        await self._bot.teller.stop()
        factory, self._factory = self._factory, None
        if factory is None:
            return
        connected = self._connector.state == "connected"
        factory.stopTrying()
        if self._bot.client is not None:
            self._bot.client.quit("the master stops")
        self._connector.disconnect()
        if connected:
            await factory.ended
