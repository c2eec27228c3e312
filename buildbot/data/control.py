"""The control section: wishes of people. An action writes the wish and announces it, in one transaction.

The master that runs the resource gets the event. A wish outlives that master: it is stored on the row
(``stop_reason``, ``cancel_reason``), and the master that cleans up after a dead one fulfils it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy.engine import Connection

from buildbot.data.base import Events, Transacts
from buildbot.data.buildrequests import cancel, cancel_left_behind
from buildbot.data.buildsets import announce_new
from buildbot.data.exceptions import InvalidControlError
from buildbot.db.connector import DBConnector
from buildbot.db.engine.rows import Entity
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.schedulers import SCHEDULER
from buildbot.resources.workers import WORKER
from buildbot.util.checks import MAX_REASON, MAX_SMALL, text

#: a handler of the process layer, for an action that only it can do: ``handler(args, entity)``
Handler = Callable[[Mapping[str, Any], Entity], Awaitable[Any]]

#: arguments that every action takes besides its own: the person who wants it
_COMMON = {"owner"}


@dataclass(frozen=True)
class Action:
    """An action of the resources of a noun.

    Attributes:
        plural: of the noun.
        name: of the action, as callers give it.
        doc: its effect.
        takes: its arguments and their types; None: those of a form.
        required: arguments that must be given.
        gives: its result: None, or the ids of a new buildset: ``[bsid, {builderid as text: buildrequestid}]``.
    """

    plural: str
    name: str
    doc: str
    takes: Mapping[str, type] | None = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    gives: Literal["nothing", "buildset"] = "nothing"


_REASON: Mapping[str, type] = {"reason": str}

#: every action, the process layer's included
ACTIONS: tuple[Action, ...] = (
    Action("builds", "stop", "stop it, if it runs", {"reason": str, "results": int}),
    Action("builds", "rebuild", "build the same again", gives="buildset"),
    Action("buildrequests", "cancel", "do not build it, or stop its builds", _REASON),
    Action("buildrequests", "set_priority", "change its place", {"priority": int}, frozenset({"priority"})),
    Action("schedulers", "enable", "switch it on or off", {"enabled": bool}, frozenset({"enabled"})),
    Action("forceschedulers", "force", "build with the values of a form", None, gives="buildset"),
    Action("changesources", "poll", "look for changes now"),
    Action("workers", "pause", "start no more builds on it", _REASON),
    Action("workers", "unpause", "start builds on it again", _REASON),
    Action("workers", "stop", "shut it down once its builds are done", _REASON),
    Action("workers", "kill", "drop its connection", _REASON),
)


class Control:
    """Actions by noun and name."""

    def __init__(self, db: DBConnector, updates: Transacts) -> None:
        self._db = db
        self._updates = updates
        #: ``(plural, action)``: handlers that the process layer adds
        self.handlers: dict[tuple[str, str], Handler] = {}
        methods: dict[tuple[str, str], Callable[..., Any]] = {
            ("builds", "stop"): self._stop_build,
            ("builds", "rebuild"): self._rebuild,
            ("buildrequests", "cancel"): self._cancel,
            ("buildrequests", "set_priority"): self._set_priority,
            ("schedulers", "enable"): self._enable,
            ("changesources", "poll"): self._poll,
            ("workers", "pause"): self._worker_pause,
            ("workers", "unpause"): self._worker_unpause,
            ("workers", "stop"): self._worker_stop,
            ("workers", "kill"): self._worker_kill,
        }
        self._actions = {
            (action.plural, action.name): (methods[action.plural, action.name], action)
            for action in ACTIONS
            if (action.plural, action.name) in methods
        }

    def has(self, plural: str, action: str) -> bool:
        """Whether there is such an action."""
        return (plural, action) in self._actions or (plural, action) in self.handlers

    async def run(self, plural: str, action: str, args: Mapping[str, Any], entity: Entity) -> Any:
        """Run an action; gives its result.

        Raises:
            InvalidControlError: the arguments are not what the action takes.
        """
        handler = self.handlers.get((plural, action))
        if handler is not None:
            return await handler(args, entity)
        method, declared = self._actions[plural, action]
        takes = declared.takes or {}
        for name, value in args.items():
            wanted = takes.get(name)
            if wanted is None and name not in _COMMON:
                raise InvalidControlError(f"{action}: unknown argument {name!r}")
            if wanted is not None and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
                raise InvalidControlError(f"{action}: {name} must be {wanted.__name__}, not {value!r}")
            if wanted is str:  # a reason, which may travel with every list
                _storable(value, f"{action}: {name}")
        for name in sorted(declared.required - args.keys()):
            raise InvalidControlError(f"{action}: {name} is required")
        return await self._updates.transact(method, dict(args), entity)

    def _stop_build(self, conn: Connection, events: Events, args: dict[str, Any], build: Entity) -> None:
        reason = args.get("reason", "no reason")
        if self._db.builds.thdWantStop(conn, build["buildid"], reason):
            events.announce_message(f"control/builds/{build['buildid']}/stop", {"reason": reason})
            cancel_left_behind(self._db, conn, events, build["buildrequestid"])

    def _rebuild(self, conn: Connection, events: Events, args: dict[str, Any], build: Entity) -> Any:
        db = self._db
        request = db.buildrequests.thdGetBuildRequest(conn, build["buildrequestid"])
        assert request is not None
        buildset = db.buildsets.thdGetBuildset(conn, request["buildsetid"])
        assert buildset is not None
        bsid, brids = db.buildsets.thdAddBuildset(
            conn,
            buildset["sourcestampsetid"],
            f"rebuild of {request['buildername']} #{build['number']}",
            db.buildsets.thdGetBuildsetProperties(conn, buildset["bsid"]),
            [request["buildername"]],
            scheduler="rebuild",
            priority=request["priority"],
            parent_buildid=buildset["parent_buildid"],
            parent_relationship=buildset["parent_relationship"],
            rebuilt_buildid=buildset["rebuilt_buildid"] or build["buildid"],
        )
        announce_new(events, bsid, db.sourcestamps.thdGetChangesOfSet(conn, buildset["sourcestampsetid"]))
        events.announce(BUILDREQUEST, "new", sorted(brids.values()))
        return [bsid, {str(request["builderid"]): brids[request["buildername"]]}]

    def _cancel(self, conn: Connection, events: Events, args: dict[str, Any], request: Entity) -> None:
        cancel(self._db, conn, events, request["buildrequestid"], args.get("reason", "no reason"))

    def _set_priority(self, conn: Connection, events: Events, args: dict[str, Any], request: Entity) -> None:
        if abs(args["priority"]) > MAX_SMALL:
            raise InvalidControlError(f"set_priority: priority {args['priority']} is out of range")
        if self._db.buildrequests.thdSetPriority(conn, request["buildrequestid"], args["priority"]):
            events.announce(BUILDREQUEST, "update", request["buildrequestid"])

    def _enable(self, conn: Connection, events: Events, args: dict[str, Any], scheduler: Entity) -> None:
        self._db.schedulers.thdEnable(conn, scheduler["schedulerid"], args["enabled"])
        events.announce(SCHEDULER, "updated", scheduler["schedulerid"])

    def _poll(self, conn: Connection, events: Events, args: dict[str, Any], source: Entity) -> None:
        # The master that runs it gets the event.
        events.announce_message(f"control/changesources/{source['changesourceid']}/poll", {})

    def _worker_pause(self, conn: Connection, events: Events, args: dict[str, Any], worker: Entity) -> None:
        self._worker(conn, events, worker, "pause", args, paused=True, pause_reason=args.get("reason"))

    def _worker_unpause(self, conn: Connection, events: Events, args: dict[str, Any], worker: Entity) -> None:
        self._worker(conn, events, worker, "unpause", args, paused=False)

    def _worker_stop(self, conn: Connection, events: Events, args: dict[str, Any], worker: Entity) -> None:
        self._worker(conn, events, worker, "stop", args, graceful=True)

    def _worker_kill(self, conn: Connection, events: Events, args: dict[str, Any], worker: Entity) -> None:
        self._worker(conn, events, worker, "kill", args)

    def _worker(
        self, conn: Connection, events: Events, worker: Entity, action: str, args: dict[str, Any], **state: Any
    ) -> None:
        workerid = worker["workerid"]
        events.announce_message(f"control/worker/{workerid}/{action}", {"reason": args.get("reason", "no reason")})
        if state:
            self._db.workers.thdSetState(conn, workerid, **state)
            events.announce(WORKER, "state_updated", workerid)


def _storable(value: str, what: str) -> None:
    try:
        text(value, what, MAX_REASON)
    except ValueError as error:
        raise InvalidControlError(str(error)) from None
