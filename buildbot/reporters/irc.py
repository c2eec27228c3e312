"""A bot on IRC: tells channels and nicks of builds, and does what it is asked."""

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
from buildbot.process.service import DeclaredService
from buildbot.reporters.chat import EVENTS, VERBS, Room, Teller, authz, one_line
from buildbot.reporters.chatcommands import Commands
from buildbot.reporters.delivery import OfOneMaster
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS, WARNINGS

_log = Logger()

#: seconds between two lines; servers close connections that send faster
LINE_RATE_S = 0.3
#: seconds between two signs of life
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


def _events(value: Any) -> list[str]:
    if not isinstance(value, list | tuple | set | frozenset | None):
        raise ValueError(f"must be a list or set of events, not {checks.kind(value)}")
    return sorted(checks.list_of(checks.text)(list(value or ())))


_nicks = checks.list_of(checks.name)


#: Twisted's client has no types
_Untyped: Any = IRCClient


class _Client(_Untyped):  # type: ignore[misc]
    """One connection."""

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
        """The server says what it can."""
        if len(params) > 2 and params[1] == "ACK" and "sasl" in params[2]:
            self.sendLine("AUTHENTICATE PLAIN")
        else:
            _log.error("{bot}: the server has no SASL", bot=self.bot.name)
            self.sendLine("CAP END")

    def irc_AUTHENTICATE(self, prefix: str, params: Sequence[str]) -> None:
        """The server waits for the password."""
        nick, password = self.bot.nick, self.bot.password or ""
        self.sendLine("AUTHENTICATE " + base64.b64encode(f"{nick}\0{nick}\0{password}".encode()).decode())

    def irc_unknown(self, prefix: str, command: str, params: Sequence[str]) -> None:
        """The end of SASL, well or not."""
        if command in ("903", "904", "905", "906", "907"):
            if command != "903":
                _log.error("{bot}: SASL failed: {said}", bot=self.bot.name, said=" ".join(params))
            self.sendLine("CAP END")

    def signedOn(self) -> None:
        """The server has let us in."""
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
        """We are in a channel."""
        self.in_channel.add(channel.lower())
        self.bot.teller.room(channel)

    def left(self, channel: str) -> None:
        """We are not any more."""
        self.in_channel.discard(channel.lower())

    def kickedFrom(self, channel: str, kicker: str, message: str) -> None:
        """Somebody put us out."""
        _log.warn("{bot} was put out of {channel} by {who}", bot=self.bot.name, channel=channel, who=kicker)
        self.left(channel)

    def privmsg(self, user: str, channel: str, message: str) -> None:
        """Somebody says something."""
        nick = user.partition("!")[0]
        if channel.lower() == self.nickname.lower():
            self.bot.hear(nick, nick, message)
            return
        addressed = re.match(rf"{re.escape(self.nickname)}[:,]\s*(.*)", message, re.IGNORECASE | re.DOTALL)
        if addressed:
            self.bot.hear(nick, channel, addressed[1])

    def action(self, user: str, channel: str, data: str) -> None:
        """Somebody does something."""
        if data.lower() == f"kicks {self.nickname.lower()}" and channel.lower() != self.nickname.lower():
            self.describe(channel, f"kicks back at {user.partition('!')[0]}")

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection is gone."""
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
        self.clock = self.bot.master.reactor
        self._callID = self.clock.callLater(self.delay, connector.connect)


class IRC(DeclaredService):
    """A bot on IRC. Of several masters with a bot of one name one runs it."""

    name = "IRC"
    secrets = ("password", "channels")
    positional = (
        "host", "nick", "channels", "pm_to_nicks", "port", "allowForce", "tags", "password", "notify_events",
        "showBlameList", "useRevisions", "useSSL", "lostDelay", "failedDelay", "useColors", "allowShutdown",
        "noticeOnChannel", "authz",
    )  # fmt: skip

    host = argument(REQUIRED, checks.name, doc="the server")
    nick = argument(REQUIRED, checks.name, doc="what the bot is called")
    channels = argument(
        (), _channels, renderable=True, doc="where it goes: `#name`, or `{'channel': '#name', 'password': '…'}`"
    )
    pm_to_nicks = argument((), checks.optional(_nicks), doc="who is told in private")
    port = argument(6667, checks.whole_number(1), doc="the server's port")
    useSSL = argument(False, checks.boolean, doc="speak TLS")
    verify = argument(True, checks.boolean, doc="check the server's certificate")
    password = argument(
        None, checks.optional(checks.text), renderable=True, doc="of the nick, for the server and NickServ"
    )
    useSASL = argument(False, checks.boolean, doc="log in by SASL PLAIN instead")
    notify_events = argument(
        (),
        _events,
        doc="of what all places are told: `started`, `finished`, `success`, `warnings`, `failure`, `exception`, "
        "`cancelled`, `problem`, `recovery`, `worse`, `better`, `worker`",
    )
    tags = argument(None, checks.optional(checks.list_of(checks.text)), doc="only builders with one of these tags")
    showBlameList = argument(True, checks.boolean, doc="name those who caused a failed build")
    useRevisions = argument(False, checks.boolean, doc="name builds by their revisions")
    useColors = argument(True, checks.boolean, doc="colour the results")
    noticeOnChannel = argument(False, checks.boolean, doc="speak in channels by NOTICE")
    lostDelay = argument(None, checks.optional(checks.number()), doc="seconds until it connects again; None: 1 to 5")
    failedDelay = argument(
        None, checks.optional(checks.number()), doc="seconds until the next try, if it cannot; None: 45 to 60"
    )
    authz = argument(
        None,
        checks.optional(authz),
        doc="""who may what: a command, or a tuple of commands, with True, False or nicks; `''` stands for all harmless
        ones, `'!'` for `force`, `stop` and `shutdown`; `join` and `leave` need entries of their own""",
    )
    allowForce = argument(None, checks.optional(checks.boolean), doc="older form: everybody may `force` and `stop`")
    allowShutdown = argument(None, checks.optional(checks.boolean), doc="older form: everybody may `shutdown`")

    client: _Client | None = None
    teller: Teller
    __running: _Running | None = None
    __started = False

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Look at the arguments together, too."""
        super().checkConfig(*args, **kwargs)
        given = self.by_name(args, kwargs)
        if given.get("authz") is not None and not (given.get("allowForce") is given.get("allowShutdown") is None):
            error(f"{self.name}: give authz, or allowForce and allowShutdown, not both")
        if given.get("useSASL") and not given.get("password"):
            error(f"{self.name}: useSASL needs a password")

    @property
    def rules(self) -> dict[str, Any]:
        """Who may what."""
        if self.authz is not None:
            return dict(self.authz)
        force, shutdown = bool(self.allowForce), bool(self.allowShutdown)
        return {"force": force, "stop": force, "shutdown": shutdown}

    @deferred
    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments and connect anew; Deferred."""
        await super().reconfigService(*args, **kwargs)
        for word in sorted(set(self.notify_events or ()) - set(EVENTS)):
            _log.warn("{bot}: notify_events has {word!r}, which is no event", bot=self.name, word=word)
        if self.__started:
            await self.__end()
            await self.__begin()

    @deferred
    async def startService(self) -> None:
        """Take the arguments and connect; Deferred."""
        await super().startService()
        self.__started = True
        await self.__begin()

    @deferred
    async def stopService(self) -> None:
        """Leave; Deferred."""
        self.__started = False
        await self.__end()
        await super().stopService()

    async def __begin(self) -> None:
        self.__running = _Running(self)
        await self.__running.run_in(self.master)

    async def __end(self) -> None:
        running, self.__running = self.__running, None
        if running is not None:
            await running.stop_running()

    # what the connection tells

    def factory_reset(self) -> None:
        """A connection works."""
        _log.info("{bot} is on {host}", bot=self.name, host=self.host)

    def hear(self, user: str, room: str, line: str) -> None:
        """Somebody gives a command."""
        in_background(self.__answer(user, self.teller.room(room), line), f"answer of {self!r}")

    async def __answer(self, user: str, room: Room, line: str) -> None:
        commands = Commands(self.master, self, self.teller, self.rules)
        for each in await commands.answer(user, room, line):
            self.say(room.name, each)

    def say(self, room: str, text: str) -> None:
        """Say something; what is said while there is no connection is lost."""
        client = self.client
        text = one_line(text)
        if client is None or not text:
            return
        if room.startswith(("#", "&")) and self.noticeOnChannel:
            client.notice(room, text)
        else:
            client.msg(room, text, 400)

    def verb(self, results: int | None) -> str:
        """What a build did, in colour."""
        verb = VERBS[results]
        return f"\x03{_COLOURS[results]}{verb}\x0f" if self.useColors and results in _COLOURS else verb

    # what commands ask

    def join_room(self, name: str) -> None:
        """As `Bot.join_room`."""
        if self.client is not None:
            self.client.join(name)

    def leave_room(self, name: str) -> None:
        """As `Bot.leave_room`."""
        if self.client is not None:
            self.client.leave(name)

    async def events_changed(self, room: Room) -> None:
        """As `Bot.events_changed`: they are the same after a restart."""
        assert self.__running is not None
        await self.__running.remember(room)


class _Running(OfOneMaster):
    """The bot, while this master runs it."""

    def __init__(self, bot: IRC) -> None:
        super().__init__(bot.name)
        self._bot = bot
        self._factory: Any = None
        self._connector: Any = None
        self._events: dict[str, list[str]] = {}

    async def start_work(self) -> None:
        """Connect."""
        bot = self._bot
        bot.teller = Teller(self.master, bot.say, bot.verb, bot.tags, bot.useRevisions, bot.showBlameList)
        for name in (*(each["channel"] for each in bot.channels), *(bot.pm_to_nicks or ())):
            bot.teller.room(name).events |= set(bot.notify_events or ())
        self._events = await self.master.db.state.getState(self.objectid, "notify_events", {})
        for name, events in self._events.items():
            bot.teller.room(name).events = set(events)
        await bot.teller.start()
        self._factory = _Factory(bot)
        reactor = self.master.reactor
        if bot.useSSL:
            context = optionsForClientTLS(bot.host) if bot.verify else CertificateOptions(verify=False)
            self._connector = reactor.connectSSL(bot.host, bot.port, self._factory, context)
        else:
            self._connector = reactor.connectTCP(bot.host, bot.port, self._factory)

    async def remember(self, room: Room) -> None:
        """Keep of what a room is told."""
        self._events[room.name] = sorted(room.events)
        await self.master.db.state.setState(self.objectid, "notify_events", self._events)

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
