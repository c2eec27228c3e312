"""The base of bots in chats: their arguments, and the rule that one of several masters runs a bot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.process.claimed import RunningMaster
from buildbot.process.service import DeclaredService
from buildbot.reporters.chat import EVENTS, Room, Teller, authz
from buildbot.reporters.delivery import OfOneMaster
from buildbot.util.deferreds import deferred

_log = Logger()


def _events(value: Any) -> list[str]:
    if not isinstance(value, list | tuple | set | frozenset | None):
        raise ValueError(f"must be a list or set of events, not {checks.kind(value)}")
    return sorted(checks.list_of(checks.text)(list(value or ())))


class ChatBot(DeclaredService):
    """A bot in a chat. If several masters have a bot of the same name, one of them runs it."""

    master: RunningMaster

    notify_events = argument(
        (),
        _events,
        doc="""the events of which all channels and users are notified: `started`, `finished`, `success`, `warnings`,
        `failure`, `exception`, `cancelled`, `problem`, `recovery`, `worse`, `better`, `worker`""",
    )
    tags = argument(None, checks.optional(checks.list_of(checks.text)), doc="only builders with one of these tags")
    showBlameList = argument(True, checks.boolean, doc="name the responsible users of a failed build")
    useRevisions = argument(False, checks.boolean, doc="name builds by their revisions")
    authz = argument(
        None,
        checks.optional(authz),
        doc="""the permissions: a command, or a tuple of commands, with True, False or nicks (for Telegram, ids of
        users); `''` stands for all harmless commands, `'!'` for `force`, `stop` and `shutdown`; `join` and `leave`
        need entries of their own""",
    )

    teller: Teller
    __running: ChatPart | None = None
    __started = False

    def part(self) -> ChatPart:
        """The running bot, while this master runs it."""
        raise NotImplementedError(f"{type(self).__name__} must define part()")

    def say(self, room: str, text: str) -> None:
        """Send a message."""
        raise NotImplementedError(f"{type(self).__name__} must define say()")

    def verb(self, results: int | None) -> str:
        """The verb for the result of a build; None: the build has begun."""
        raise NotImplementedError(f"{type(self).__name__} must define verb()")

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
        """Disconnect; Deferred."""
        self.__started = False
        await self.__end()
        await super().stopService()

    async def __begin(self) -> None:
        self.__running = self.part()
        await self.__running.run_in(self.master)

    async def __end(self) -> None:
        running, self.__running = self.__running, None
        if running is not None:
            await running.stop_running()

    async def events_changed(self, room: Room) -> None:
        """As `Bot.events_changed`: the events are stored, and the same after a restart."""
        assert self.__running is not None
        await self.__running.remember(room)


class ChatPart(OfOneMaster):
    """A bot, while this master runs it.

    Args:
        bot: the bot.
    """

    def __init__(self, bot: ChatBot) -> None:
        super().__init__(bot.name)
        self.__bot = bot
        self.__events: dict[str, list[str]] = {}

    async def tell(self, rooms: Iterable[str]) -> None:
        """Begin to notify rooms, and other rooms whose stored events say so."""
        bot = self.__bot
        bot.teller = Teller(self.master, bot.say, bot.verb, bot.tags, bot.useRevisions, bot.showBlameList)
        for name in rooms:
            bot.teller.room(name).events |= set(bot.notify_events or ())
        self.__events = await self.master.db.state.getState(self.objectid, "notify_events", {})
        for name, events in self.__events.items():
            bot.teller.room(name).events = set(events)
        await bot.teller.start()

    async def remember(self, room: Room) -> None:
        """Store the events that a room is notified of."""
        self.__events[room.name] = sorted(room.events)
        await self.master.db.state.setState(self.objectid, "notify_events", self.__events)
