"""GerritChangeSource follows the stream of events of a Gerrit server, GerritEventLogPoller asks for its log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.changes.base import PollError, PollingChangeSource
from buildbot.changes.gerritevents import GerritEvents
from buildbot.changes.programs import Program, ProgramError
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.util.background import in_background
from buildbot.util.httpclient import Answer, HttpClient, HttpError

_log = Logger()

#: seconds until a stream that has ended is begun again, doubled each time up to the longest
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
#: a line that is longer is no event
_MAX_LINE_BYTES = 8 * 1024 * 1024
#: the text before JSON in Gerrit's answers, which keeps browsers from running it
_GUARD = b")]}'"


def _login(value: Any) -> Any:
    if value is not None and not (isinstance(value, (tuple, list)) and len(value) == 2):
        raise ValueError(f"must be (user, password), not {type(value).__name__}")
    return value


async def ask(http: HttpClient, url: str, auth: Any, **params: object) -> Answer:
    """Gerrit's answer to a user who is logged in.

    Raises:
        PollError: it does not answer as it should.
    """
    try:
        return (await http.request("GET", url, params=params, auth=tuple(auth) if auth else None)).require(200)
    except HttpError as problem:
        raise PollError(str(problem)) from None


async def logged_events(http: HttpClient, base_url: str, auth: Any, since_s: int | None) -> list[str]:
    """The events that Gerrit's plugin ``events-log`` has, each as JSON, from a moment on."""
    params = {} if since_s is None else {"t1": datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%d %H:%M:%S")}
    answer = await ask(http, f"{base_url.rstrip('/')}/a/plugins/events-log/events/", auth, **params)
    lines = answer.body.removeprefix(_GUARD).decode("utf-8", "backslashreplace").split("\n")
    return [line for line in lines if line.strip()]


class _Stream(ProcessProtocol):
    """Reads the events that ssh brings."""

    transport: Any

    def __init__(self, heard: Callable[[str], None], ended: Callable[[str], None]) -> None:
        self._heard, self._ended, self._rest, self._errors = heard, ended, b"", b""
        self.gone: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._heard(line.decode("utf-8", "backslashreplace"))
        if len(self._rest) > _MAX_LINE_BYTES:
            self.stop()

    def errReceived(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-2000:]

    def processEnded(self, reason: Failure) -> None:
        said = self._errors.decode("utf-8", "backslashreplace").strip().splitlines()
        self._ended(said[-1] if said else str(reason.value))
        self.gone.callback(None)

    def stop(self) -> None:
        """End it."""
        try:
            self.transport.signalProcess("TERM")
        except ProcessExitedAlready:
            return  # its end is being reported just now


class GerritChangeSource(GerritEvents):
    """Follows ``gerrit stream-events`` over ssh.

    What happens while there is no connection is missed, unless ``http_url`` is given: then Gerrit's plugin
    ``events-log`` is asked for it.
    """

    state_class = "GerritChangeSource"
    positional: ClassVar[tuple[str, ...]] = ("gerritserver", "username", "gerritport", "identity_file")
    gerritserver = argument(REQUIRED, checks.name, doc="the name of the server")
    username = argument(REQUIRED, checks.name, doc="whom to log in as")
    gerritport = argument(29418, checks.whole_number(1), doc="the port for ssh")
    identity_file = argument(
        None, checks.optional(checks.name), doc="the file of the key to log in with; None: ssh's own"
    )
    ssh_server_alive_interval_s = argument(
        15, checks.optional(checks.whole_number(1)), doc="seconds between signs of life of the connection; None: none"
    )
    ssh_server_alive_count_max = argument(
        3,
        checks.optional(checks.whole_number(1)),
        doc="the number of missing keepalives that end it; None: ssh's default",
    )
    http_url = argument(
        None, checks.optional(checks.url), doc="the server's address for HTTP, to ask for missed events"
    )
    http_auth = argument(None, _login, renderable=True, doc="`(user, password)` for it")
    http_poll_interval = argument(30, checks.positive, doc="seconds between two such questions")
    name: Any = argument(
        None,
        checks.optional(checks.name),
        doc="unique among change sources; None: `GerritChangeSource:USER@SERVER:PORT`",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.name is None:
            self.name = f"GerritChangeSource:{self.username}@{self.gerritserver}:{self.gerritport}"
        for what in ("gerritserver", "username"):
            if str(getattr(self, what)).startswith("-"):
                error(f"{type(self).__name__}: {what} must not begin with '-'")
        if self.http_auth is not None and self.http_url is None:
            error(f"{type(self).__name__}: http_auth needs an http_url")
        self.__stream: _Stream | None = None
        self.__timers: dict[str, Any] = {}
        self.__wait_s = FIRST_WAIT_S
        self.__stopping = False

    def repository_of(self, project: str) -> str:
        """The address of a project's repository."""
        if self.gitBaseURL is not None:
            return super().repository_of(project)
        return f"ssh://{self.username}@{self.gerritserver}:{self.gerritport}/{project}"

    async def start_work(self) -> None:
        """Begin to follow."""
        self.__stopping = False
        self.forget_position()
        self.__begin()
        if self.http_url is not None:
            self.__ask_later(0)

    async def stop_work(self) -> None:
        """Stop following; the present event is taken to its end."""
        self.__stopping = True
        for timer in self.__timers.values():
            if timer.active():
                timer.cancel()
        stream, self.__stream = self.__stream, None
        if stream is not None:
            stream.stop()
            await stream.gone
        await self.all_taken()

    def __command(self, *words: str) -> list[str]:
        command = ["ssh", "-o", "BatchMode=yes"]
        if self.ssh_server_alive_interval_s is not None:
            command += ["-o", f"ServerAliveInterval={self.ssh_server_alive_interval_s}"]
        if self.ssh_server_alive_count_max is not None:
            command += ["-o", f"ServerAliveCountMax={self.ssh_server_alive_count_max}"]
        command += [f"{self.username}@{self.gerritserver}", "-p", str(self.gerritport)]
        command += ["-i", self.identity_file] if self.identity_file is not None else []
        return [*command, "gerrit", *words]

    def __begin(self) -> None:
        self.__stream = _Stream(self.__heard, self.__ended)
        command = self.__command("stream-events")
        self.master.reactor.spawnProcess(self.__stream, command[0], command, env=dict(os.environ))

    def __heard(self, line: str) -> None:
        self.__wait_s = FIRST_WAIT_S
        in_background(self.take(line), f"an event of {self!r}")

    def __ended(self, reason: str) -> None:
        if not self.__stopping:
            self.__stream = None
            _log.warn("{part!r}: the stream has ended: {reason}; again in {wait} s", part=self, reason=reason,
                      wait=self.__wait_s)  # fmt: skip
            self.__timers["begin"] = self.master.reactor.callLater(self.__wait_s, self.__begin)
            self.__wait_s = min(2 * self.__wait_s, LONGEST_WAIT_S)

    def __ask_later(self, delay_s: float) -> None:
        def ask_now() -> None:
            in_background(self.__ask(), f"the missed events of {self!r}")

        self.__timers["ask"] = self.master.reactor.callLater(delay_s, ask_now)

    async def __ask(self) -> None:
        """Take the events that the stream has missed."""
        try:
            since = await self.last_event_s()
            auth = await self.render(self.http_auth)
            for line in await logged_events(self.master.httpservice, str(self.http_url), auth, since):
                if not self.__stopping:
                    await self.take(line)
        except PollError as problem:
            _log.warn("{part!r}: missed events cannot be asked for: {problem}", part=self, problem=problem)
        finally:
            if not self.__stopping:
                self.__ask_later(self.http_poll_interval)

    async def getFiles(self, change: int, patchset: int) -> list[str]:
        """Ask with ``gerrit query``."""
        command = self.__command("query", str(change), "--format", "JSON", "--files", "--patch-sets")
        program = Program(self.master.reactor, command[0], self.master.basedir, os.environ)
        try:
            output = await program.run(*command[1:], what="gerrit query")
            found = json.loads(output.split(b"\n")[0])
            sets = [each for each in found["patchSets"] if str(each["number"]) == str(patchset)]
            return [file["file"] for file in sets[0].get("files", ()) if file["file"] != "/COMMIT_MSG"]
        except (ProgramError, ValueError, KeyError, IndexError, TypeError) as problem:
            _log.warn("{part!r}: the files of change {change} are not known: {problem}", part=self, change=change,
                      problem=problem)  # fmt: skip
            return []


class GerritEventLogPoller(GerritEvents, PollingChangeSource):
    """Asks a Gerrit server for its log of events, which its plugin ``events-log`` keeps."""

    state_class = "GerritEventLogPoller"
    positional: ClassVar[tuple[str, ...]] = ("baseURL", "auth")
    baseURL = argument(REQUIRED, checks.url, doc="the server's address for HTTP")
    auth = argument(REQUIRED, _login, renderable=True, doc="`(user, password)` to log in with")
    gitBaseURL = argument(REQUIRED, checks.text, doc="the text before the project in the change's `repository`")
    pollInterval = 30
    pollAtLaunch = True
    firstFetchLookback = argument(
        30, checks.whole_number(), doc="the age of the oldest events of the first poll, in seconds"
    )
    name: Any = argument(
        None, checks.optional(checks.name), doc="unique among change sources; None: `GerritEventLogPoller:BASEURL`"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.name is None:
            self.name = f"GerritEventLogPoller:{self.baseURL}"

    async def start_work(self) -> None:
        """Begin to poll."""
        self.forget_position()
        await super().start_work()

    async def poll(self) -> None:
        """Ask for new events once."""
        since = await self.last_event_s()
        if since is None:
            since = int(self.master.wall_seconds()) - self.firstFetchLookback
        auth = await self.render(self.auth)
        for line in await logged_events(self.master.httpservice, self.baseURL, auth, since):
            if self.stopping:
                return
            await self.take(line)

    async def getFiles(self, change: int, patchset: int) -> list[str]:
        """Ask over HTTP."""
        url = f"{self.baseURL.rstrip('/')}/a/changes/{change}/revisions/{patchset}/files/"
        try:
            answer = await ask(self.master.httpservice, url, await self.render(self.auth))
            return [name for name in json.loads(answer.body.removeprefix(_GUARD)) if name != "/COMMIT_MSG"]
        except (PollError, ValueError, TypeError) as problem:
            _log.warn("{part!r}: the files of change {change} are not known: {problem}", part=self, change=change,
                      problem=problem)  # fmt: skip
            return []
