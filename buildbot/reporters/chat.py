"""Bots in chats: permissions, and notifications of builds and workers; the commands are in `chatcommands`."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.reporters import utils
from buildbot.util.background import in_background
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS

_log = Logger()

EVENTS = (
    "started", "finished", "success", "warnings", "failure", "exception", "cancelled", "problem", "recovery", "worse",
    "better", "worker",
)  # fmt: skip
#: commands that change something
DANGEROUS = ("force", "stop", "shutdown", "join", "leave")

_NAMES = {
    SUCCESS: "success",
    WARNINGS: "warnings",
    FAILURE: "failure",
    EXCEPTION: "exception",
    CANCELLED: "cancelled",
}
#: verbs about a build, by its result; None: it has begun
VERBS = {
    None: "started",
    SUCCESS: "completed successfully",
    WARNINGS: "completed with warnings",
    FAILURE: "failed",
    SKIPPED: "was skipped",
    EXCEPTION: "ended with an exception",
    RETRY: "is to be built again",
    CANCELLED: "was cancelled",
}
#: results, the best first
_ORDER = (SUCCESS, WARNINGS, FAILURE, EXCEPTION, CANCELLED)


def events_of(results: int, previous: int | None) -> set[str]:
    """The names of the events at the end of a build, by its result and the previous build's (None: there is none)."""
    found = {"finished"} | ({_NAMES[results]} if results in _NAMES else set())
    if previous is None:
        return found
    good, bad = (SUCCESS, WARNINGS), (FAILURE, EXCEPTION)
    if previous in good and results in bad:
        found.add("problem")
    if previous in bad and results in good:
        found.add("recovery")
    if results in _ORDER and previous in _ORDER and results != previous:
        found.add("worse" if _ORDER.index(results) > _ORDER.index(previous) else "better")
    return found


def authz(value: Any) -> dict[str, Any]:
    """A check: ``{command or tuple of commands: True, False, nick or list of nicks}``, by command."""
    found: dict[str, Any] = {}
    for commands, allowed in checks.dictionary(value).items():
        if isinstance(allowed, str):
            allowed = [allowed]
        if not isinstance(allowed, bool | list | tuple | set | frozenset):
            raise ValueError(f"[{commands!r}] must be True, False, or a list of nicks, not {checks.kind(allowed)}")
        for command in commands if isinstance(commands, tuple | list) else (commands,):
            if not isinstance(command, str):
                raise ValueError(f"has {command!r}, which is no name of a command")
            found[command.lower()] = allowed if isinstance(allowed, bool) else [str(each) for each in allowed]
    return found


def may(rules: Mapping[str, Any], command: str, user: str) -> bool:
    """Whether rules allow a command to a user; ``""`` stands for all harmless commands, ``"!"`` for the others."""
    dangerous = command in DANGEROUS
    allowed = rules.get(command, rules.get("!" if dangerous else "", not dangerous))
    if command in ("join", "leave") and command not in rules:
        return False
    return allowed if isinstance(allowed, bool) else user.lower() in {each.lower() for each in allowed}


@dataclass
class Room:
    """A channel, or a nick for private messages.

    Attributes:
        name: the name, to which answers are sent.
        events: the names of the events of which it is notified.
        muted: whether it gets no notifications.
        watched: ids of builds of whose end it is notified once.
    """

    name: str
    events: set[str] = field(default_factory=set)
    muted: bool = False
    watched: set[int] = field(default_factory=set)


class Teller:
    """Notifies rooms of events.

    Args:
        master: the master.
        say: sends a text to a room: ``say(room, text)``.
        verb: gives the verb for a result; None: the build has begun.
        tags: only builders with one of these tags; None: all.
        use_revisions: name builds by their revisions, not their numbers.
        show_blame: name the responsible users of a failed build.
    """

    def __init__(
        self,
        master: Any,
        say: Callable[[str, str], None],
        verb: Callable[[int | None], str],
        tags: Collection[str] | None = None,
        use_revisions: bool = False,
        show_blame: bool = True,
    ) -> None:
        self.master = master
        self.rooms: dict[str, Room] = {}
        self._say, self._verb = say, verb
        self._tags, self._use_revisions, self._show_blame = tags, use_revisions, show_blame
        self._subscriptions: list[Any] = []
        self._missing: set[Any] = set()

    def room(self, name: str) -> Room:
        """The room of a name, which is made if it does not exist."""
        return self.rooms.setdefault(name.lower(), Room(name))

    async def start(self) -> None:
        """Subscribe to the events of builds and workers."""
        listen = self.master.mq.startConsuming
        self._subscriptions = [
            await listen(self._heard(self._build), ("builds", None, None)),
            await listen(self._heard(self._worker), ("workers", None, None)),
        ]

    async def stop(self) -> None:
        """End the subscriptions."""
        subscriptions, self._subscriptions = self._subscriptions, []
        for each in subscriptions:
            await each.stopConsuming()

    def _heard(self, tell: Callable[[str, dict[str, Any]], Awaitable[None]]) -> Callable[..., None]:
        def heard(key: tuple[str, ...], message: dict[str, Any]) -> None:
            async def told() -> None:
                await tell(key[-1], message)

            in_background(told(), f"telling rooms of {'/'.join(key)}")

        return heard

    def _tell(self, events: set[str], text: str, buildid: int | None = None) -> None:
        for room in self.rooms.values():
            watches = buildid in room.watched
            if "finished" in events:
                room.watched.discard(buildid or 0)
            if not room.muted and (watches or room.events & events):
                self._say(room.name, text)

    def _wanted(self, event: str) -> bool:
        return any(each.events or each.watched for each in self.rooms.values()) and event in ("new", "finished")

    async def _build(self, event: str, build: dict[str, Any]) -> None:
        if not self._wanted(event):
            return
        builder = await self.master.data.get({}, ("builders", build["builderid"]))
        if self._tags is not None and not set(self._tags) & set(builder["tags"]):
            return
        if event == "new":
            text = f"{await self.called(build)} of `{builder['name']}` {self._verb(None)}."
            self._tell({"started"}, text)
            return
        previous = await utils.getPreviousBuild(self.master, build)
        text = await self.ending(build, builder["name"])
        self._tell(
            events_of(build["results"], None if previous is None else previous["results"]), text, build["buildid"]
        )

    async def ending(self, build: Mapping[str, Any], builder: str) -> str:
        """The text about the end of a build."""
        results = build["results"]
        said = f"{await self.called(build)} of `{builder}` {self._verb(results)}"
        if results == SUCCESS:
            return f"{said}."
        blamed = ""
        if self._show_blame and results in (FAILURE, EXCEPTION):
            users = await utils.getResponsibleUsersForBuild(self.master, build["buildid"])
            blamed = f" (by {', '.join(users)})" if users else ""
        return f"{said}: {build['state_string']}{blamed}"

    async def called(self, build: Mapping[str, Any]) -> str:
        """The name of a build, with a link to its page."""
        url = utils.getURLForBuild(self.master, build["builderid"], build["number"])
        if self._use_revisions:
            request = await self.master.data.get({}, ("buildrequests", build["buildrequestid"]))
            buildset = await self.master.data.get({}, ("buildsets", request["buildsetid"]))
            revisions = [stamp["revision"] for stamp in buildset["sourcestamps"] if stamp["revision"]]
            if revisions:
                return f"Build [{', '.join(revisions)}]({url})"
        return f"Build [#{build['number']}]({url})"

    async def _worker(self, event: str, worker: dict[str, Any]) -> None:
        if event == "missing":
            self._missing.add(worker["workerid"])
            since = worker.get("last_connection") or time.ctime()
            self._tell({"worker"}, f"Worker `{worker['name']}` is missing. It was seen last on {since}.")
        elif event == "connected" and worker["workerid"] in self._missing:
            self._missing.discard(worker["workerid"])
            self._tell({"worker"}, f"Worker `{worker['name']}` is back online.")


def one_line(text: str) -> str:
    """A text without line ends and control characters, as one message of a chat."""
    return re.sub(r"[\x00-\x01\x04-\x0e\x10-\x1f]+", " ", text).strip()
