"""One configured worker in the running master: its connection, its builds, and whether it may take another.

States: offline (no connection), connected; within connected, paused (takes no builds), graceful (takes no builds and is
shut down when the last one ends) and quarantined (takes no builds for a while, since one failed on it). Paused and
graceful are stored in the database; they are read at each login and follow the ``control/worker`` events. Quarantine is
this process's own, and shown in the database.

Logins and losses of one worker are handled one after the other (`_turn`), so that the database has the last state,
however fast a worker comes and goes.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import DeferredLock, TimeoutError, ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from buildbot.config.builder import BuilderConfig
from buildbot.data.interfaces import Master
from buildbot.interfaces import ConfiguredWorker, HostedWorker
from buildbot.process.workers.absence import Absence
from buildbot.process.workers.connection import Connection, DuplicateWorkerError, RemoteError, WorkerLostError
from buildbot.process.workers.quarantine import Quarantine
from buildbot.resources.workers import WorkerDict
from buildbot.util.background import in_background
from buildbot.util.deferreds import resolved
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, SKIPPED, SUCCESS, WARNINGS

#: seconds that a worker has to answer a request without work
ANSWER_TIMEOUT_S = 30
#: seconds that an older connection has to answer before a newer one of the same name takes its place
DUPLICATE_TIMEOUT_S = 10

#: results that show that the worker works
_ENDED_WELL = (SUCCESS, WARNINGS, FAILURE, SKIPPED, CANCELLED)
#: the longest reason of a quarantine that is shown
_SHOWN_CHARS = 1000

T = TypeVar("T")
_log = Logger()


class WorkerNotAvailableError(Exception):
    """The worker cannot take this build now: offline, paused, shutting down, or busy."""


class BuildLike(Protocol):
    """A build for a worker: its properties, to render values with them."""

    @property
    def builder_name(self) -> str:
        """The name of its builder."""

    def getProperty(self, name: str, default: Any = None) -> Any:
        """A property."""

    def render(self, value: Any) -> Any:
        """Deferred with ``value`` rendered."""


class NotPreparedError(Exception):
    """A worker could not be made ready for a build.

    Args:
        text: the build's state string.
        results: the build's result.
        details: the text in its log.
    """

    def __init__(self, text: str, results: int, details: str = "") -> None:
        super().__init__(text)
        self.results = results
        self.details = details


class ManagedWorker:
    """A configured worker.

    Args:
        master: the master, for its ``data`` and ``reactor``.
        config: the configured worker.
        workerid: its id in the database.
        on_change: called with the worker's name when it may have become able to take a build.

    Attributes:
        directories: its builders as ``{name: directory}``.
        connection: None while it is offline.
        builds: the names of the builders that it runs a build of now.
    """

    def __init__(
        self, master: Master, config: ConfiguredWorker, workerid: int, on_change: Callable[[str], None]
    ) -> None:
        self.config = config
        self.workerid = workerid
        self.directories: Mapping[str, str] = {}
        self.connection: Connection | None = None
        self.paused = False
        self.graceful = False
        self.builds: dict[str, str] = {}
        self._master = self.master = master
        #: gives the port of this master for agents of a protocol; None: it has none
        self.port_of: Callable[[str], int | None] = lambda protocol: None
        self._on_change = on_change
        self._turn = DeferredLock()
        self._keepalive: LoopingCall | None = None
        self.quarantine = Quarantine(master.reactor, self._quarantine_changed)
        self._absence = Absence(master, self._report_missing)
        self._awaited = False
        self._told: Mapping[str, str] = {}
        self._joining: Connection | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.config.name

    @property
    def workername(self) -> str:
        """The worker's name, for users' functions."""
        return self.config.name

    @property
    def worker(self) -> Any:
        """The configured worker, for users' functions."""
        return self.config

    @property
    def properties(self) -> Any:
        """The properties that the configuration gives to its builds, with ``getProperty``."""
        return self.config.properties

    @property
    def locks(self) -> Sequence[Any]:
        """The configured locks that each build on it holds."""
        return self.config.locks

    @property
    def info(self) -> Mapping[str, Any]:
        """The information of the connected worker; empty while it is offline."""
        return self.connection.info if self.connection else {}

    def has_room(self) -> bool:
        """Whether it may start a build of some builder now."""
        return (
            self.connection is not None
            and not self.paused
            and not self.graceful
            and not self.quarantine.is_on
            and (self.config.max_builds is None or len(self.builds) < self.config.max_builds)
        )

    def isAvailable(self) -> bool:
        """Whether it may start a build of some builder now, for users' functions."""
        return self.has_room()

    def can_take(self, builder: str) -> bool:
        """Whether it may start a build of this builder now."""
        # an agent runs one command per builder at a time
        return self.has_room() and builder in self.directories and builder not in self.builds

    def reserve(self, builder: str) -> Connection:
        """Take the worker for a build, until `release`.

        Returns:
            its connection; before the build begins to use it, it asks `prepare`.

        Raises:
            WorkerNotAvailableError: it cannot take the build; nothing is reserved.
        """
        connection = self.connection_for_builds()
        if not self.can_take(builder) or connection is None:
            raise WorkerNotAvailableError(f"worker {self.name!r} cannot take a build of {builder!r} now")
        self.builds[builder] = self.directories[builder]
        return connection

    def connection_for_builds(self) -> Connection | None:
        """The connection that a new build is made with; None: it cannot begin now."""
        return self.connection

    async def prepare(self, build: BuildLike, connection: Connection) -> Connection:
        """Prepare the worker for a build; called once after each `reserve`.

        Args:
            build: a build that begins; its properties are known, except those from the worker's information.
            connection: the result of `reserve`.

        Returns:
            the connection to use.

        Raises:
            NotPreparedError: the worker cannot be prepared; has the build's result.
        """
        return connection

    def release(self, builder: str, results: int | None = None) -> None:
        """A build has ended, with these results if it began: an exception begins a quarantine, success ends it."""
        self.builds.pop(builder, None)
        if results == EXCEPTION:
            self.quarantine.enter(f"a build of {builder} ended with an exception")
        elif results in _ENDED_WELL:
            self.quarantine.reset()
            self.quarantine.leave()
        in_background(self._after_build(), f"worker {self.name!r} after a build")

    async def _after_build(self) -> None:
        if self.graceful and not self.builds:
            await self.shut_down("all its builds have ended")
        else:
            await self._refresh_builders()
        self._on_change(self.name)

    async def configure(self, config: ConfiguredWorker, directories: Mapping[str, str]) -> None:
        """Take a new configuration; a connected worker gets new builders at once."""
        older, self.config = self.config, config
        if older is not config and isinstance(older, HostedWorker):
            goes_on = isinstance(config, HostedWorker) and config.take_over(older)
            if not goes_on:
                await older.stop_agent()
        self.directories = directories
        config.taken_into_service(self)
        if not self._awaited:  # a worker that has never connected can be missing, too
            self._awaited = True
            self._absence.begin(self._missing_timeout_s())
        if self.connection is not None:
            self._start_keepalive(self.connection)
            await self._refresh_builders()
            self._on_change(self.name)

    async def attach(self, connection: Connection) -> None:
        """Take a new connection into service.

        Raises:
            DuplicateWorkerError: a worker of this name is connected and alive.
            RemoteError: the agent is too old, or its answers are malformed.
            WorkerLostError: the connection was lost meanwhile.
        """
        async with self._turn:
            if self._closed:
                raise RemoteError("it is not wanted any more")
            await self._replace_older()
            self._joining = connection
            await self._answer(connection.get_info(), ANSWER_TIMEOUT_S)
            self._told = {}
            await self._answer(self._tell_builders(connection), ANSWER_TIMEOUT_S)
            await self._answer(connection.say("attached"), ANSWER_TIMEOUT_S)
            row: WorkerDict | None = await self._master.data.get({}, ("workers", self.workerid))
            self.paused = bool(row and row["paused"])
            self.graceful = False
            if row and row["graceful"]:
                await self._master.data.update.setWorkerState(self.workerid, graceful=False)
            if row and row["state_string"] and not self.quarantine.is_on:  # it is from an earlier master
                self.show_condition()
            await self._write_connected(connection)
            while self._told != self._wanted_builders():  # a new configuration came during the login
                await self._answer(self._tell_builders(connection), ANSWER_TIMEOUT_S)
            self.connection = connection
            self._start_keepalive(connection)
            self._absence.end()
            connection.on_lost(
                lambda reason: in_background(self._detach(connection, reason), f"loss of worker {self.name!r}")
            )
        if connection.lost:
            raise WorkerLostError("the connection was lost during login")
        _log.info(
            "worker {name} connected from {peer}, version {version}",
            name=self.name,
            peer=connection.peer,
            version=connection.info.get("version", "unknown"),
        )
        self._on_change(self.name)

    async def announce(self) -> None:
        """Store again that it is connected, after another master declared this one dead."""
        async with self._turn:
            if self.connection is not None:
                await self._write_connected(self.connection)

    async def _write_connected(self, connection: Connection) -> None:
        known = {key: value for key, value in connection.info.items() if key != "worker_commands"}
        await self._master.data.update.workerConnected(self.workerid, known)

    async def _replace_older(self) -> None:
        """Drop the old connection for a new one if the old one does not answer any more."""
        older = self.connection
        if older is None:
            return
        try:
            await self._answer(older.ping(), DUPLICATE_TIMEOUT_S)
        except (WorkerLostError, RemoteError) as problem:
            _log.warn(
                "worker {name} comes again; its older connection from {peer} is dead: {problem}",
                name=self.name,
                peer=older.peer,
                problem=problem,
            )
            self._forget(older)
            older.close()
        else:
            raise DuplicateWorkerError(f"a worker of this name is connected already, from {older.peer}")

    def _forget(self, connection: Connection) -> None:
        self.connection = None
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None
        connection.closed("the worker did not answer any more")

    async def _detach(self, connection: Connection, reason: str) -> None:
        if self.connection is connection:
            self._forget(connection)
        async with self._turn:
            if self.connection is not None:
                return  # the worker is connected again
            _log.info("worker {name} disconnected: {reason}", name=self.name, reason=reason)
            if not self._closed:
                self._absence.begin(self._missing_timeout_s())
            await self._master.data.update.workerDisconnected(self.workerid)

    def _missing_timeout_s(self) -> float:
        """The seconds of absence after which it is missing; 0: never."""
        return self.config.missing_timeout

    def _report_missing(self, since: str) -> None:
        _log.warn(
            "worker {name} has been missing since {since}; to be told: {whom}",
            name=self.name,
            since=since,
            whom=", ".join(self.config.notify_on_missing) or "nobody",
        )
        update, masterid = self._master.data.update, self._master.masterid
        reported = update.workerMissing(self.workerid, masterid, since, self.config.notify_on_missing)
        in_background(resolved(reported), f"report of the missing worker {self.name!r}")

    def _quarantine_changed(self) -> None:
        if self._closed:
            return
        if self.quarantine.is_on:
            _log.warn(
                "worker {name} takes no builds for {seconds:.0f} s: {reason}",
                name=self.name,
                seconds=self.quarantine.left_s,
                reason=self.quarantine.reason,
            )
        else:
            self._on_change(self.name)
        self.show_condition()

    def show_condition(self) -> None:
        """Store why it takes no builds."""
        until, state = None, self.state_string()
        if self.quarantine.is_on:
            until, state = int(self._master.wall_seconds() + self.quarantine.left_s), self.quarantine.reason
        shown = self._master.data.update.set_worker_condition(self.workerid, until, state and state[:_SHOWN_CHARS])
        in_background(resolved(shown), f"condition of worker {self.name!r}")

    def state_string(self) -> str | None:
        """Its state beside connected or offline; None: nothing to say."""
        return None

    def _wanted_builders(self) -> Mapping[str, str]:
        """The builders that the agent should know, with their directories.

        A builder that was removed while it runs stays on the list until its build ends: otherwise the agent would kill
        its command without a report.
        """
        more = self.builds.keys() - self.directories.keys()
        return {**self.directories, **self.builds} if more else self.directories

    async def _tell_builders(self, connection: Connection) -> None:
        """Send the list of builders if it changed."""
        wanted = self._wanted_builders()
        if wanted != self._told:
            await connection.set_builders(sorted(wanted.items()))
            self._told = wanted

    async def _refresh_builders(self) -> None:
        """Send a changed list to a connected worker; a worker that does not take it is dropped, and logs in again."""
        connection = self.connection
        if connection is None:
            return
        try:
            await self._answer(self._tell_builders(connection), ANSWER_TIMEOUT_S)
        except (WorkerLostError, RemoteError) as problem:
            self.drop(connection, f"it did not take its list of builders ({problem})")

    def _start_keepalive(self, connection: Connection) -> None:
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None
        if self.config.keepalive_interval is None:
            return
        self._keepalive = LoopingCall(lambda: ensureDeferred(self.check_alive(connection)))
        self._keepalive.clock = self._master.reactor
        self._keepalive.start(self.config.keepalive_interval, now=False)

    async def check_alive(self, connection: Connection) -> bool:
        """Whether the agent answers in time; if not, its connection is dropped.

        An agent that is held back cannot answer; it is alive, since it sends output.
        """
        if connection.held_back and not connection.lost:
            return True
        try:
            await self._answer(connection.ping(), ANSWER_TIMEOUT_S)
        except (WorkerLostError, RemoteError) as problem:
            _log.warn("worker {name} is dropped: {problem}", name=self.name, problem=problem)
            self.drop(connection, f"it did not answer ({problem})")
            return False
        return True

    def drop(self, connection: Connection, reason: str) -> None:
        """Drop a connection, and handle the loss at once, without waiting for the network."""
        connection.close()
        connection.closed(reason)

    def disconnect(self, reason: str) -> None:
        """Drop the worker's connection, if it has one."""
        if self.connection is not None:
            self.drop(self.connection, reason)

    async def control(self, action: str) -> None:
        """Obey a control event: ``pause``, ``unpause``, ``stop`` (after its builds) or ``kill`` (now)."""
        if action == "pause":
            self.paused = True
            self.quarantine.leave()
        elif action == "unpause":
            self.paused = False
            self.quarantine.leave()
            self._on_change(self.name)
        elif action == "kill":
            await self.shut_down("killed by request")
        elif action == "stop":
            self.graceful = True
            if not self.builds:
                await self.shut_down("stopped by request")

    async def set_paused(self, paused: bool, reason: str | None = None) -> None:
        """Pause or unpause it, for users' functions, and store that."""
        await self.control("pause" if paused else "unpause")
        await self._master.data.update.setWorkerState(self.workerid, paused=paused, pause_reason=reason)

    async def ask_graceful(self) -> None:
        """The agent asks to be shut down after its builds."""
        await self._master.data.update.setWorkerState(self.workerid, graceful=True)
        await self.control("stop")

    async def shut_down(self, reason: str) -> None:
        """Ask the agent to end itself; its running builds lose their worker."""
        connection = self.connection
        if connection is None:
            return
        _log.info("worker {name} is shut down: {reason}", name=self.name, reason=reason)
        try:
            await self._answer(connection.shutdown(), ANSWER_TIMEOUT_S)
        except (WorkerLostError, RemoteError) as problem:
            _log.warn("worker {name} did not take its shutdown: {problem}", name=self.name, problem=problem)
        self.drop(connection, "the worker was shut down")

    async def close(self) -> None:
        """The master stops, or the worker was removed: drop the connection, and return when all is stored."""
        self._closed = True
        reason = "the master closed the connection"
        if self._joining is not None:
            self.drop(self._joining, reason)
        async with self._turn:  # after this no login is in progress
            self.disconnect(reason)
        if isinstance(self.config, HostedWorker):
            await self.config.stop_agent()
        async with self._turn:  # after this the loss is stored
            self._absence.end()
            if self.quarantine.is_on:
                self.quarantine.leave()
                await self._master.data.update.set_worker_condition(self.workerid)

    async def _answer(self, question: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """The answer to a request; WorkerLostError if it does not come in time."""
        waiting = ensureDeferred(question)
        waiting.addTimeout(timeout_s, self._master.reactor)
        try:
            return await waiting
        except TimeoutError:
            raise WorkerLostError(f"no answer in {timeout_s} s") from None


def directories_of_workers(builders: Sequence[BuilderConfig]) -> dict[str, Mapping[str, str]]:
    """The builders that the configuration gives to each worker, as ``{worker: {name: directory}}``.

    Workers with the same builders share one dictionary, which is never changed.
    """
    found: dict[str, dict[str, str]] = {}
    for builder in builders:
        for worker in builder.workernames:
            found.setdefault(worker, {})[builder.name] = builder.workerbuilddir
    shared: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
    return {worker: shared.setdefault(tuple(each.items()), each) for worker, each in found.items()}
