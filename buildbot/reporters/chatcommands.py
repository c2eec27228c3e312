"""The commands of bots in chats; each command is a method, whose docstring begins with its usage."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol

from twisted.logger import Logger

from buildbot.reporters.chat import EVENTS, VERBS, Room, Teller, may
from buildbot.util.results import statusToString

_log = Logger()

#: changes in an answer to ``list changes``: by default, and at most
_DEFAULT_CHANGES = 10
_MAX_LISTED = 100


class UsageError(ValueError):
    """A command has wrong arguments; the message names the mistake."""


class Bot(Protocol):
    """The methods of a bot that commands use."""

    @property
    def nick(self) -> str:
        """Its own name."""

    def join_room(self, name: str) -> None:
        """Join a channel."""

    def leave_room(self, name: str) -> None:
        """Leave a channel."""

    async def events_changed(self, room: Room) -> None:
        """Store the events that a room is notified of."""


class Commands:
    """Answers commands.

    Args:
        master: the master.
        bot: the bot that got the commands.
        teller: notifies rooms.
        rules: the permissions, as `buildbot.reporters.chat.authz` returns them.

    Attributes:
        left_out: commands of this class that a subclass does not have.
    """

    left_out: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, master: Any, bot: Bot, teller: Teller, rules: Mapping[str, Any]) -> None:
        self.master, self.bot, self.teller, self.rules = master, bot, teller, rules

    @property
    def known(self) -> dict[str, Callable[..., Awaitable[list[str]]]]:
        """The commands by name."""
        names = sorted(name for name in dir(type(self)) if name.startswith("command_"))
        found = {name.removeprefix("command_"): getattr(self, name) for name in names}
        return {name: method for name, method in found.items() if name not in self.left_out}

    def person(self, user: str) -> str:
        """The name of a user, as the owner of a forced build."""
        return user

    def meanings(self) -> dict[str, str]:
        """The purpose of each command, in a few words."""
        return {name: _meaning(method) for name, method in self.known.items()}

    async def answer(self, user: str, room: Room, line: str) -> list[str]:
        """The lines of the answer to a command."""
        name, _, rest = line.strip().partition(" ")
        name = name.lower()
        if not name:
            return []
        command = self.known.get(name)
        if command is None:
            return [f"I do not know {name[:50]!r}. {(await self.command_commands(user, room, []))[0]}"]
        if not may(self.rules, name, user):
            return [f"You may not do that, {self.person(user)}: {name}"]
        _log.info("chat: {user} in {room}: {line}", user=user, room=room.name, line=line)
        try:
            return await command(user, room, _split(rest))
        except UsageError as problem:
            return [str(problem)]
        except Exception:
            _log.failure("chat: the command {line} failed", line=line)
            return [f"Something went wrong with {name!r}; the master's log says what."]

    def _usage(self, name: str) -> str:
        return (inspect.getdoc(self.known[name]) or "").partition("\n")[0]

    def _wrong(self, name: str) -> UsageError:
        return UsageError(f"Try '{self._usage(name)}'.")

    # about the bot

    async def command_help(self, user: str, room: Room, args: list[str]) -> list[str]:
        """help [COMMAND]

        how to use a command, or all of them
        """
        if args:
            name = args[0].lower()
            if name not in self.known:
                return [f"There is no command {name[:50]!r}."]
            return [f"Usage: {self._usage(name)} - {_meaning(self.known[name])}"]
        return [f"{name} - {meaning}" for name, meaning in self.meanings().items()]

    async def command_commands(self, user: str, room: Room, args: list[str]) -> list[str]:
        """commands

        the names of all commands
        """
        return [f"Commands: {' '.join(self.known)}"]

    async def command_version(self, user: str, room: Room, args: list[str]) -> list[str]:
        """version

        the version of the master
        """
        from importlib.metadata import version

        return [f"This is Tenfold {version('tenfold')}, a Buildbot master, at your service."]

    async def command_source(self, user: str, room: Room, args: list[str]) -> list[str]:
        """source

        the address of the web page
        """
        return [f"My page is {self.master.config.buildbotURL}; I am called {self.master.config.title}."]

    async def command_hello(self, user: str, room: Room, args: list[str]) -> list[str]:
        """hello

        a greeting
        """
        return [f"Hello, {self.person(user)}."]

    async def command_dance(self, user: str, room: Room, args: list[str]) -> list[str]:
        """dance

        a dance
        """
        return ["<(^.^<)", "<(^.^)>", "(>^.^)>"]

    async def command_destroy(self, user: str, room: Room, args: list[str]) -> list[str]:
        """destroy

        nothing of the kind
        """
        return ["I only build things."]

    async def command_hustle(self, user: str, room: Room, args: list[str]) -> list[str]:
        """hustle

        no faster than the workers
        """
        return ["As fast as the workers go."]

    async def command_mute(self, user: str, room: Room, args: list[str]) -> list[str]:
        """mute

        no notifications here for now
        """
        room.muted = True
        return ["I say no more of builds here, until 'unmute'."]

    async def command_unmute(self, user: str, room: Room, args: list[str]) -> list[str]:
        """unmute

        notifications again, after mute
        """
        said = "I tell of builds again." if room.muted else "I was not muted."
        room.muted = False
        return [said]

    async def command_join(self, user: str, room: Room, args: list[str]) -> list[str]:
        """join #CHANNEL

        join a channel
        """
        if len(args) != 1 or not args[0].startswith(("#", "&")):
            raise self._wrong("join")
        self.bot.join_room(args[0])
        return [f"I go to {args[0]}."]

    async def command_leave(self, user: str, room: Room, args: list[str]) -> list[str]:
        """leave #CHANNEL

        leave a channel
        """
        if len(args) != 1 or not args[0].startswith(("#", "&")):
            raise self._wrong("leave")
        self.bot.leave_room(args[0])
        self.teller.rooms.pop(args[0].lower(), None)
        return [f"I leave {args[0]}."]

    async def command_notify(self, user: str, room: Room, args: list[str]) -> list[str]:
        """notify on|off|list [EVENT ...]

        the events of which you are notified here; 'off' alone: none
        """
        if not args or args[0] not in ("on", "off", "list") or not set(args[1:]) <= set(EVENTS):
            known = ", ".join(EVENTS)
            raise UsageError(f"{self._wrong('notify')} Events are {known}.")
        if args[0] == "on":
            room.events |= set(args[1:] or ("started", "finished"))
        elif args[0] == "off":
            room.events -= set(args[1:] or EVENTS)
        if args[0] != "list":
            await self.bot.events_changed(room)
        return [f"The following events are being notified: {', '.join(sorted(room.events)) or 'none'}"]

    # about builds

    async def command_list(self, user: str, room: Room, args: list[str]) -> list[str]:
        """list [all|N] builders|workers|changes

        names; changes are the newest ones
        """
        many = args[0] if len(args) == 2 else ""
        what = args[-1] if args else ""
        if (
            what not in ("builders", "workers", "changes")
            or len(args) > 2
            or (many and not re.match(r"all|\d+$", many))
        ):
            raise self._wrong("list")
        if what == "changes":
            number = _MAX_LISTED if many == "all" else min(int(many or _DEFAULT_CHANGES), _MAX_LISTED)
            found = await self.master.data.get({"order": ["-changeid"], "limit": number}, ("changes",))
            return [_change(each) for each in found] or ["There are no changes."]
        if what == "builders":
            builders = await self._builders() if many != "all" else await self.master.data.get({}, ("builders",))
            names = [f"`{each['name']}`" for each in builders]
        else:
            workers = await self.master.data.get({"order": ["name"]}, ("workers",))
            names = [f"`{each['name']}`" for each in workers if many == "all" or each["connected_to"]]
        if many.isdecimal():
            names = names[: int(many)]
        return [f"{what.capitalize()}: {', '.join(names) or 'none'}"]

    async def command_status(self, user: str, room: Room, args: list[str]) -> list[str]:
        """status [BUILDER|all]

        the current builds of builders
        """
        return [await self._status(each) for each in await self._named("status", args)]

    async def command_last(self, user: str, room: Room, args: list[str]) -> list[str]:
        """last [BUILDER|all]

        the results of the last builds
        """
        lines = []
        for builder in await self._named("last", args):
            build = await self._last(builder)
            if build is None:
                lines.append(f"Builder `{builder['name']}` has not built anything yet.")
            else:
                lines.append(
                    f"Builder `{builder['name']}`: {await self.teller.called(build)} {VERBS[build['results']]} "
                    f"{_age(self.master.wall_seconds() - build['complete_at'])} ago"
                )
        return lines

    async def command_watch(self, user: str, room: Room, args: list[str]) -> list[str]:
        """watch BUILDER

        notify of the end of running builds
        """
        if len(args) != 1:
            raise self._wrong("watch")
        (builder,) = await self._named("watch", args)
        lines = []
        for build in await self._running(builder):
            room.watched.add(build["buildid"])
            lines.append(f"I tell you when {await self.teller.called(build)} of `{builder['name']}` ends.")
        return lines or [f"There are no builds of `{builder['name']}` running now."]

    async def command_force(self, user: str, room: Room, args: list[str]) -> list[str]:
        """force build [--codebase=C] [--branch=B] [--revision=R] [--props=k=v,k=v] BUILDER REASON

        request a build
        """
        options: dict[str, str] = {}
        words: list[str] = []
        for each in args[1:]:
            found = re.fullmatch(r"--(codebase|branch|revision|props)=(.*)", each, re.DOTALL)
            if found and not words:
                options[found[1]] = found[2]
            else:
                words.append(each)
        if not args or args[0] != "build" or not words:
            raise self._wrong("force")
        (builder,) = await self._named("force", words[:1])
        properties: dict[str, tuple[Any, str]] = {}
        for pair in filter(None, options.get("props", "").split(",")):
            name, equals, value = pair.partition("=")
            if not equals or not name:
                raise self._wrong("force")
            properties[name] = (value, "Chat")
        reason = " ".join(words[1:])
        properties |= {"owner": (self.person(user), "Chat"), "reason": (reason, "Chat")}
        stamp = {
            "codebase": options.get("codebase", ""), "branch": options.get("branch"),
            "revision": options.get("revision"), "repository": "", "project": "",
        }  # fmt: skip
        _, brids = await self.master.data.update.addBuildset(
            sourcestamps=[stamp], builderNames=[builder["name"]], properties=properties,
            reason=f"force: by {self.person(user)} in a chat: {reason}",
        )  # fmt: skip
        return [f"Build request {brids[builder['name']]} of `{builder['name']}` is made."]

    async def command_stop(self, user: str, room: Room, args: list[str]) -> list[str]:
        """stop build BUILDER REASON

        stop running builds
        """
        if len(args) < 3 or args[0] != "build":
            raise self._wrong("stop")
        (builder,) = await self._named("stop", args[1:2])
        lines = []
        for build in await self._running(builder):
            reason = f"by {self.person(user)}: {' '.join(args[2:])}"
            await self.master.data.control("stop", {"reason": reason}, ("builds", build["buildid"]))
            lines.append(f"{await self.teller.called(build)} of `{builder['name']}` is stopped.")
        return lines or [f"There are no builds of `{builder['name']}` running now."]

    async def command_shutdown(self, user: str, room: Room, args: list[str]) -> list[str]:
        """shutdown check|start|stop|now

        stop this master: after its builds ('stop' revokes that), or now: its builds run again after the next start
        """
        match args:
            case ["check"]:
                running = await self.master.data.get({"filters": {"complete": False}}, ("builds",))
                more = "I stop when they have ended." if self.master.is_leaving else ""
                return [f"I am running; {len(running)} builds are, too. {more}".strip()]
            case ["start"]:
                self.master.leave()
                return ["I start no more builds, and stop when those that run have ended."]
            case ["stop"] if self.master.is_leaving:
                await self.master.stay()
                return ["I go on."]
            case ["stop"]:
                return ["I was not about to stop."]
            case ["now"]:
                self.master.reactor.callLater(1, self.master.reactor.stop)
                return ["I stop now."]
        raise self._wrong("shutdown")

    async def _builders(self) -> list[dict[str, Any]]:
        """The builders that at least one master has, by name."""
        found: list[dict[str, Any]] = await self.master.data.get({"order": ["name"]}, ("builders",))
        return [each for each in found if each["masterids"]]

    async def _named(self, command: str, args: list[str]) -> list[dict[str, Any]]:
        if len(args) > 1:
            raise self._wrong(command)
        builders = await self._builders()
        if not args or args[0] == "all":
            return builders
        found = [each for each in builders if each["name"] == args[0]]
        if not found:
            raise UsageError(f"no such builder '{args[0][:100]}'")
        return found

    async def _running(self, builder: Mapping[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.master.data.get(
            {"filters": {"complete": False}, "order": ["number"]}, ("builders", builder["builderid"], "builds")
        )
        return found

    async def _last(self, builder: Mapping[str, Any]) -> dict[str, Any] | None:
        query = {"filters": {"complete": True}, "order": ["-number"], "limit": 1}
        found = await self.master.data.get(query, ("builders", builder["builderid"], "builds"))
        return found[0] if found else None

    async def _status(self, builder: Mapping[str, Any]) -> str:
        running = await self._running(builder)
        if running:
            doing = [f"{await self.teller.called(each)}: {each['state_string']}" for each in running]
            return f"Builder `{builder['name']}` is running: {'; '.join(doing)}"
        build = await self._last(builder)
        if build is None:
            return f"Builder `{builder['name']}` is idle."
        age = _age(self.master.wall_seconds() - build["complete_at"])
        return f"Builder `{builder['name']}` is idle, last build {age} ago: {statusToString(build['results'])}"


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe in a sentence
        return text.split()


def _meaning(method: Callable[..., object]) -> str:
    return " ".join((inspect.getdoc(method) or "").partition("\n")[2].split())


def _change(change: Mapping[str, Any]) -> str:
    said = change["comments"].partition("\n")[0][:100]
    return f"{change['author']}: {change['repository']} {change['branch'] or ''} {change['revision'] or ''}: {said}"


def _age(seconds: float) -> str:
    """A duration, rounded, in words."""
    seconds = max(int(seconds), 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
