"""The base of the two change sources of Gerrit: the events that are changes.

An event becomes a change in the transaction that moves the position of the source over it. The position is the time of
the newest event and the fingerprints of those of the last minutes, so that one that comes twice, from the stream and
from the log of events, is one change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from buildbot.changes.base import ChangeSource
from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.util.deferreds import deferred, resolved

_log = Logger()
#: seconds for which fingerprints of events are kept
_WINDOW_S = 300
_NO_REVISION = "0" * 40


class GerritEvents(ChangeSource):
    """Turns events of Gerrit into changes.

    A subclass with a method ``eventReceived_TYPE(properties, event)`` (``-`` in the type is ``_``) decides itself what
    an event of this type is; it calls ``self.addChangeFromEvent(properties, event)`` for the usual.
    """

    gitBaseURL = argument(
        None,
        checks.optional(checks.text),
        doc="the text before the project in the change's `repository`; None: the address for ssh",
    )
    handled_events = argument(
        ("patchset-created", "ref-updated"), checks.list_of(checks.name), doc="the types of events that count"
    )
    get_files = argument(False, checks.flag, doc="ask for the files of each change; otherwise they are `['unknown']`")
    debug = argument(False, checks.flag, doc="log each event")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__turn = DeferredLock()
        self.__position: dict[str, Any] | None = None

    async def last_event_s(self) -> int | None:
        """When the newest event was created that the source has seen, in Unix seconds; None if it has seen none."""
        last: int | None = (await self.__known()).get("last")
        return last

    async def __known(self) -> dict[str, Any]:
        if self.__position is None:
            position = await self.get_position({"last": None, "seen": {}})
            now = int(self.master.wall_seconds())
            if position["last"] is not None and position["last"] > now + _WINDOW_S:
                position = {**position, "last": now}  # a clock was wrong then
            self.__position = position
        return self.__position

    def forget_position(self) -> None:
        """Another master may have gone on: the database knows how far."""
        self.__position = None

    async def take(self, line: str) -> None:
        """Take an event, as JSON; malformed events and events that were taken before are ignored."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            _log.info("{part!r}: not an event: {line}", part=self, line=line[:200])
            return
        if self.debug:
            _log.info("{part!r}: event {line}", part=self, line=line)
        if event["type"] not in self.handled_events:
            return
        async with self.__turn:
            if self.working:
                await self.__take_once(event)

    async def all_taken(self) -> None:
        """Wait until the event that is being taken is taken."""
        async with self.__turn:
            return

    async def __take_once(self, event: dict[str, Any]) -> None:
        known = await self.__known()
        print_ = hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()[:20]
        if print_ in known["seen"]:
            return
        now, created = int(self.master.wall_seconds()), event.get("eventCreatedOn")
        if not isinstance(created, int) or created > now + _WINDOW_S:
            # A wrong time in the future would hide the events that come until then.
            created = now if known["last"] is None else known["last"]
        last = max(known["last"] or 0, created)
        seen = {each: when for each, when in known["seen"].items() if when > last - _WINDOW_S}
        before, self.__position = self.__position, {"last": last, "seen": {**seen, print_: created}}
        try:
            await self.eventReceived(event)
        except (LookupError, TypeError, ValueError, AttributeError) as problem:
            _log.warn("{part!r}: an event of type {type} lacks something: {problem}", part=self, type=event["type"],
                      problem=repr(problem))  # fmt: skip
        except BaseException:
            self.__position = before
            raise

    @deferred
    async def eventReceived(self, event: dict[str, Any]) -> None:
        """Make a change of an event, or pass over it."""
        properties = dict(_flat("event", event))
        properties.pop("event.eventCreatedOn", None)
        properties["event.source"] = type(self).__name__
        handler = getattr(self, f"eventReceived_{event['type'].replace('-', '_')}", None)
        if handler is not None:
            await resolved(handler(properties, event))
        elif "change" in event and "patchSet" in event:
            await self.addChangeFromEvent(properties, event)

    @deferred
    async def addChangeFromEvent(self, properties: dict[str, Any], event: dict[str, Any]) -> None:
        """Add the change that an event with a change and a patch set is."""
        change, patch_set = event["change"], event["patchSet"]
        target = _without_heads(change["branch"])
        merged = event["type"] == "change-merged"
        await self.__add(
            {
                "author": _person(change["owner"]),
                "project": change["project"],
                "repository": self.repository_of(change["project"]),
                "branch": target if merged else patch_set["ref"],
                "revision": patch_set["revision"],
                "revlink": change.get("url") or "",
                "comments": change["subject"],
                "files": await self.__files(change, patch_set),
                "category": event["type"],
                "properties": properties if merged else {**properties, "target_branch": target},
            }
        )

    def eventReceived_ref_updated(self, properties: dict[str, Any], event: dict[str, Any]) -> Deferred[None]:
        """Add the change that a push is; that a branch is removed is none."""
        return self.__ref_updated(properties, event)

    @deferred
    async def __ref_updated(self, properties: dict[str, Any], event: dict[str, Any]) -> None:
        update = event["refUpdate"]
        if update["newRev"] == _NO_REVISION:
            return
        await self.__add(
            {
                "author": _person(event.get("submitter") or {}),
                "project": update["project"],
                "repository": self.repository_of(update["project"]),
                "branch": _without_heads(update["refName"]),
                "revision": update["newRev"],
                "comments": "Gerrit: commit(s) pushed.",
                "files": ["unknown"],
                "category": event["type"],
                "properties": properties,
            }
        )

    async def __add(self, change: Mapping[str, Any]) -> None:
        await self.advance([change], self.__position)

    async def __files(self, change: Mapping[str, Any], patch_set: Mapping[str, Any]) -> Sequence[str]:
        if not self.get_files:
            return ["unknown"]
        return await self.getFiles(change["number"], patch_set["number"]) or ["unknown"]

    async def getFiles(self, change: int, patchset: int) -> list[str]:
        """Ask Gerrit for the files of a patch set; none if it does not say."""
        raise NotImplementedError

    def repository_of(self, project: str) -> str:
        """The address of a project's repository."""
        return f"{(self.gitBaseURL or '').rstrip('/')}/{project}"


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The numbers and texts in a value by names joined with dots."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}", each)
    elif value is None or isinstance(value, (str, int, float, bool)):
        yield name, value


def _without_heads(ref: str) -> str:
    return ref.removeprefix("refs/heads/")


def _person(account: Mapping[str, Any]) -> str:
    name = str(account.get("name") or account.get("username") or "Gerrit")
    return f"{name} <{account['email']}>" if account.get("email") else name
