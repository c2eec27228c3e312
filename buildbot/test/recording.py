"""The state layer of a master for tests of builds and workers; it remembers in which order it was written to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.python.failure import Failure

from buildbot.data.updates import Result
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.test.fake.fakedb import make_master


class Recording:
    """A master with a real ``data``, ``mq`` and ``db``, in memory unless given; each update is noted when it is done.

    Attributes:
        basedir: the master's directory; a test may set another.
        calls: what was written, as ``(method, *args)``; ``("refused", method)`` for what failed.
    """

    def __init__(self, state: Any = None) -> None:
        self.state = make_master() if state is None else state
        self.name = self.state.name
        self.db, self.mq, self.reactor = self.state.db, self.state.mq, self.state.reactor
        self.data: Any = RecordedData(self.state.data, self)
        self.masterid = self.state.masterid
        self.metrics = self.state.metrics
        self.httpservice = self.state.httpservice
        self.basedir = Path()
        self.calls: list[tuple[Any, ...]] = []
        self._watching: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def wall_seconds(self) -> float:
        """The current time."""
        return time.time()

    def is_late(self) -> bool:
        """It has no heartbeat."""
        return False

    def note(self, *call: Any) -> None:
        """Remember something, and wake who waits for it."""
        self.calls.append(call)
        for entry in list(self._watching):
            if entry[0]():
                self._watching.remove(entry)
                self.state.reactor.callLater(0, entry[1].callback, None)

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fires after the note that makes ``condition`` true."""
        if condition():
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._watching.append((condition, waiting))
        return waiting

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of all calls of a method."""
        return [call[1:] for call in self.calls if call[0] == name]

    def get(self, *path: Any, **options: Any) -> Any:
        """The resource of the Data API at a path."""
        return now(self.state.data.get(options, path))

    def build(self, buildid: int) -> dict[str, Any]:
        """A build, with all its properties as ``{name: (value, source)}``."""
        row = self.get("builds", buildid, properties=["*"])
        return {**row, "properties": {name: tuple(pair) for name, pair in row["properties"].items()}}

    def newest(self) -> int:
        """The id of the newest build."""
        return int(self.get("builds", order=["-buildid"], limit=1)[0]["buildid"])

    def steps(self, buildid: int) -> list[dict[str, Any]]:
        """The steps of a build."""
        found: list[dict[str, Any]] = self.get("builds", buildid, "steps")
        return found

    def text(self, stepid: int, name: str = "stdio") -> str:
        """The content of a log of a step."""
        logs = {log["name"]: log for log in self.get("steps", stepid, "logs")}
        return str(self.get("logs", logs[name]["logid"], "contents")["content"])

    async def add_request(
        self, builder: str, changes: Any = (), properties: Any = None, **stamp: Any
    ) -> BuildRequestDict:
        """A claimed build request with one source stamp."""
        update = self.state.data.update
        builderid = await update.findBuilderId(builder)
        changeids = [await update.addChange(**change) for change in changes]
        stamp = {"branch": None, "revision": None, "repository": "", "project": "", "codebase": "", **stamp}
        _, brids = await update.addBuildset(
            sourcestamps=[{**stamp, "changeids": changeids}],
            reason="test",
            properties=properties or {},
            builderNames=[builder],
        )
        await update.claimBuildRequests([brids[builder]])
        request: BuildRequestDict = await self.state.data.get({}, ("buildrequests", brids[builder]))
        assert request["claimed"] and request["builderid"] == builderid
        return request

    async def stop_build(self, buildid: int, reason: str) -> None:
        """Stop a build, as the page's button does."""
        await self.state.data.control("stop", {"reason": reason}, ("builds", buildid))


class RecordedData:
    """``master.data`` whose updates are noted."""

    def __init__(self, data: Any, recording: Recording) -> None:
        self._data = data
        self.update = self.updates = RecordedUpdate(data.update, recording)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)


class RecordedUpdate:
    """``master.data.update``, noting each call when it is done. A test may set a method to another one."""

    def __init__(self, update: Any, recording: Recording) -> None:
        self._update, self._recording = update, recording

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def batch(self) -> RecordedBatch:
        """A batch whose calls are noted when they are stored."""
        return RecordedBatch(self._update.batch(), self._recording, set(vars(self)))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._update, name)

        def call(*args: Any, **kwargs: Any) -> Deferred[Any]:
            def done(result: Any) -> Any:
                self._recording.note(*(("refused", name) if isinstance(result, Failure) else (name, *args)))
                return result

            called: Deferred[Any] = method(*args, **kwargs)
            return called.addBoth(done)

        return call


class RecordedBatch:
    """A batch, noting its calls. With a call of a method that a test has set it fails: such are made alone."""

    def __init__(self, batch: Any, recording: Recording, replaced: set[str]) -> None:
        self._batch, self._recording, self._replaced = batch, recording, replaced
        self._calls: list[tuple[str, tuple[Any, ...], Deferred[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._batch, name)

        def call(*args: Any, **kwargs: Any) -> Deferred[Any]:
            gathered: Deferred[Any] = method(*args, **kwargs)
            self._calls.append((name, args, gathered))
            return gathered

        return call

    def result(self, call: Deferred[Any], key: str | None = None) -> Any:
        return self._batch.result(call, key)

    def send(self) -> Deferred[None]:
        calls, self._calls = self._calls, []
        if any(name in self._replaced for name, _, _ in calls):
            self._batch = None
            return fail(RuntimeError("the batch has a call that a test has replaced"))
        outcomes: list[Any] = []

        def stored(_: None) -> None:
            for name, args, gathered in calls:
                outcomes.append(gathered.result)
                given = [arg.of(outcomes) if isinstance(arg, Result) else arg for arg in args]
                self._recording.note(name, *given)

        def failed(failure: Failure) -> Failure:
            for name, _, _ in calls:
                self._recording.note("refused", name)
            return failure

        sent: Deferred[None] = self._batch.send()
        return sent.addCallbacks(stored, failed)


def now(work: Any) -> Any:
    """The result of something that does not wait."""
    outcome: list[Any] = []
    (work if isinstance(work, Deferred) else ensureDeferred(work)).addBoth(outcome.append)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
