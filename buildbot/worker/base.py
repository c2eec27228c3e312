"""Workers of a configuration: their arguments, and what functions of the configuration may do with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.config.locks import lock_list
from buildbot.data.interfaces import Master
from buildbot.process.workers.connection import Connection
from buildbot.process.workers.managed import ManagedWorker
from buildbot.process.workers.quarantine import FIRST_S
from buildbot.util.deferreds import deferred

_NAME = re.compile(r"[^\W\d][\w.-]{0,49}\Z")


class WorkerProperties(dict[str, Any]):
    """Properties that a worker gives to its builds, by name, with the methods of a build's properties.

    Renderables in them are rendered for each build.
    """

    def getProperty(self, name: str, default: Any = None) -> Any:
        """The value of a property; ``default`` if there is none."""
        return self.get(name, default)

    def hasProperty(self, name: str) -> bool:
        """Whether there is a property of this name, with any value."""
        return name in self

    def setProperty(self, name: str, value: Any, source: str = "Worker") -> None:
        """Set the value for builds that begin from now on; ``source`` is ignored, the builds' is always ``Worker``."""
        self[name] = value

    def update(self, *given: Any, **named: Any) -> None:
        """Update as a dictionary does, or as a build's properties do: ``update(values, source)``."""
        super().update(*(given[:1] if len(given) == 2 and isinstance(given[1], str) else given), **named)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.match(value):
        raise ValueError(
            f"must be a letter, then letters, digits, '_', '-' and '.', at most 50 in all, not {checks.kind(value)}"
        )
    return value


class Shown:
    """An attribute whose value a method computes from the running worker.

    Unlike a property it is hidden by an attribute of an instance or a subclass with the same name.
    """

    def __init__(self, ask: Callable[[Any], Any]) -> None:
        self.__ask = ask
        self.__doc__ = ask.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else self.__ask(instance)


class AbstractWorker(Declared):
    """The base of workers: an agent logs in with the worker's name and password.

    Functions of the configuration and subclasses may ask for the state of the running worker and change it by the
    methods here. While a configuration is only read, no master runs the worker: it is not connected, and not paused.
    """

    positional: ClassVar[tuple[str, ...]] = ("name", "password")
    name = argument(
        REQUIRED,
        _name,
        doc="the name of the worker; a letter, then letters, digits, `_`, `-` and `.`, at most 50",
    )
    password: Any = argument(REQUIRED, checks.name, doc="the password of its login")
    max_builds = argument(
        None,
        checks.optional(checks.whole_number(1)),
        doc="the most builds that it runs at once; None: one for each of its builders",
    )
    properties: Any = argument(
        None, checks.optional(checks.mapping), renderable=True, doc="set on each build that it runs"
    )
    defaultProperties: Any = argument(
        None,
        checks.optional(checks.mapping),
        renderable=True,
        doc="set on each build that has no property of this name yet",
    )
    locks = argument((), lock_list, doc="the locks that each build on it holds: a list of `lock.access(…)`")
    keepalive_interval = argument(
        120,
        checks.optional(checks.positive),
        doc="seconds between messages that find a dead connection; None: there are none",
    )
    machine_name = argument(
        None,
        checks.optional(checks.name),
        doc="the machine of `c['machines']` that it runs on; one on demand is started when a build needs the worker",
    )
    missing_timeout = argument(
        3600,
        checks.optional(checks.number()),
        doc="seconds after which a worker that went away, or did not come, is reported as missing; 0 or None: never",
    )
    notify_on_missing: Any = argument(
        None,
        checks.optional(
            checks.either(checks.text, checks.list_of(checks.text), otherwise="an address or a list of addresses")
        ),
        doc="mail addresses to notify; the event `workers/N/missing` and the log name them",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workername = self.name
        if self.password is None:  # not `or`: a renderable has no truth value
            self.password = ""
        self.properties = WorkerProperties(self.properties or {})
        self.defaultProperties = WorkerProperties(self.defaultProperties or {})
        self.missing_timeout = self.missing_timeout or 0
        told = self.notify_on_missing
        self.notify_on_missing = [told] if isinstance(told, str) else list(told or ())
        self.__managed: ManagedWorker | None = None
        self.__quarantine_timeout: float = FIRST_S

    def taken_into_service(self, managed: ManagedWorker) -> None:
        """Called when a running master begins to use the worker."""
        if self.__managed is None and self.__quarantine_timeout != FIRST_S:
            managed.quarantine.timeout_s = self.__quarantine_timeout
        self.__managed = managed

    def __running(self) -> ManagedWorker:
        if self.__managed is None:
            raise RuntimeError(f"no master runs worker {self.name!r} now: its configuration is only read")
        return self.__managed

    # the interface for functions of the configuration and for subclasses

    def __conn(self) -> Connection | None:
        """The connection of its agent; None while it is offline."""
        return None if self.__managed is None else self.__managed.connection

    def __info(self) -> WorkerProperties:
        """The information that the connected agent sent about itself; empty while it is offline."""
        return WorkerProperties({} if self.__managed is None else self.__managed.info)

    def __basedir(self) -> Any:
        """The directory of the connected agent; None while it is offline."""
        return self.__info().getProperty("basedir")

    def __workerid(self) -> int | None:
        """Its id in the database; None before a master runs."""
        return None if self.__managed is None else self.__managed.workerid

    def __master(self) -> Master:
        """The running master."""
        return self.__running().master

    def master_port(self, protocol: str) -> int | None:
        """The port on which the running master listens for agents of a protocol; None: on no port."""
        return self.__running().port_of(protocol)

    master = Shown(__master)
    conn = Shown(__conn)
    info = Shown(__info)
    worker_basedir = Shown(__basedir)
    workerid = Shown(__workerid)

    def isConnected(self) -> bool:
        """Whether its agent is connected."""
        return self.__conn() is not None

    def canStartBuild(self) -> bool:
        """Whether it may start a build now: connected, not paused, not in quarantine, not shutting down, not full."""
        return self.__managed is not None and self.__managed.has_room()

    def isPaused(self) -> bool:
        """Whether a user paused it."""
        return self.__managed is not None and self.__managed.paused

    @deferred
    async def pause(self, reason: str | None = None) -> None:
        """Start no more builds on it, until `unpause`. Running ones go on; quarantine ends."""
        await self.__running().set_paused(True, reason)

    @deferred
    async def unpause(self) -> None:
        """Start builds on it again; quarantine ends, too."""
        await self.__running().set_paused(False)

    @deferred
    async def shutdown(self) -> None:
        """Tell its agent to end itself now; builds on it end with RETRY."""
        await self.__running().shut_down("the configuration asked for it")

    @property
    def quarantine_timeout(self) -> float:
        """Seconds of its next quarantine; each is twice as long as the one before, up to an hour."""
        return self.__quarantine_timeout if self.__managed is None else self.__managed.quarantine.timeout_s

    @quarantine_timeout.setter
    def quarantine_timeout(self, seconds: float) -> None:
        self.__quarantine_timeout = seconds
        if self.__managed is not None:
            self.__managed.quarantine.timeout_s = seconds

    def putInQuarantine(self, reason: str = "the configuration asked for it") -> None:
        """Start no builds on it for `quarantine_timeout`."""
        self.__running().quarantine.enter(reason)

    def exitQuarantine(self) -> None:
        """End its quarantine now; the next one is as long as it would have been."""
        self.__running().quarantine.leave()

    def stopQuarantineTimer(self) -> None:
        """The same as `exitQuarantine`."""
        self.__running().quarantine.leave()

    def resetQuarantine(self) -> None:
        """Make its next quarantine as short as the first."""
        self.__running().quarantine.reset()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Worker(AbstractWorker):
    """A `buildbot-worker` agent on any machine, which connects to the master."""

    password: Any = argument(
        REQUIRED,
        checks.name,
        renderable=True,
        doc="the password of its login; a secret is read at each login",
    )
