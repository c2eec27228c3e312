"""The step for its parts, and the build for its steps.

`buildbot.process.step.BuildStep` gives its work to objects that it owns: its logs, its summary, its work on the worker,
its run and its end. They know the step as a `RunningStep`, which has only attributes and methods that users' subclasses
know too and may override.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred, FirstError
from twisted.python.failure import Failure

from buildbot.data.interfaces import Master
from buildbot.data.updates import UpdateBatch
from buildbot.process.buildercontract import RunningBuilder
from buildbot.process.buildrequest import BuildRequest
from buildbot.process.locks import Claim
from buildbot.process.logs import Log
from buildbot.process.properties import Properties
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.sourcestamp import SourceStamp
from buildbot.process.workerforbuilder import WorkerForBuilder
from buildbot.process.workers.connection import Connection, WorkerLostError
from buildbot.process.workers.managed import ManagedWorker
from buildbot.resources.buildrequests import BuildRequestDict

T = TypeVar("T")

#: what a step says of itself, at once or later: texts by ``step`` and ``build``
Summary = Mapping[str, str] | Awaitable[Mapping[str, str]]


class BuildStepFailed(Exception):
    """Raised by a step to end with FAILURE; the text, if any, becomes its description."""


class BuildStepCancelled(Exception):
    """Raised by a step to end with CANCELLED."""


def is_of_stop(problem: BaseException | None) -> bool:
    """Whether an error in a stopped step is of the stop itself; ``gatherResults`` wraps those of its Deferreds."""
    while isinstance(problem, FirstError):
        problem = problem.subFailure.value
    return isinstance(problem, (CancelledError, BuildStepCancelled, WorkerLostError))


class ILogObserver(Protocol):
    """An observer of a log while it is written; see `buildbot.process.logobserver`."""

    def setStep(self, step: Any) -> None:
        """The step that it is added to."""

    def setLog(self, log: Log) -> None:
        """The log has begun."""


class StepBuild(Protocol):
    """The build for its steps; see `buildbot.process.build.Build`."""

    master: Master
    builder: RunningBuilder
    number: int
    locks: Claim | None
    locks_waited_s: float
    builderid: int
    buildid: int
    properties: Properties
    workdir: object
    env: Mapping[str, Any]
    worker: ManagedWorker
    connection: Connection
    stop_reason: str | None

    @property
    def workername(self) -> str: ...

    @property
    def goes_on_elsewhere(self) -> bool: ...

    @property
    def request(self) -> BuildRequestDict: ...

    @property
    def requests(self) -> Sequence[BuildRequest]: ...

    @property
    def workerforbuilder(self) -> WorkerForBuilder: ...

    @property
    def currentStep(self) -> Any: ...

    @property
    def executedSteps(self) -> Sequence[Any]: ...

    def getWorkerName(self) -> str: ...

    def getUrl(self) -> str: ...

    def blamelist(self) -> list[str]: ...

    def allChanges(self) -> Sequence[Mapping[str, Any]]: ...

    def allFiles(self) -> list[str]: ...

    def getAllSourceStamps(self) -> list[SourceStamp]: ...

    def setProperty(self, name: str, value: object, source: str, runtime: bool = False) -> None: ...

    def addStepsAfterCurrentStep(self, steps: Iterable[Any]) -> None: ...

    def addStepsAfterLastStep(self, steps: Iterable[Any]) -> None: ...

    def getSourceStamp(self, codebase: str = "") -> Mapping[str, Any] | None: ...

    async def save_properties(self) -> None: ...

    def gather_properties(self, batch: UpdateBatch) -> None: ...

    async def default_workdir(self) -> object: ...

    def write_failed(self, failure: Failure) -> None: ...


class RunningStep(Protocol):
    """The step for its parts; for the attributes see `buildbot.process.step.BuildStep`."""

    name: str
    descriptionDone: object
    doStepIf: object
    hideStepIf: object
    alwaysRun: object
    haltOnFailure: object
    flunkOnFailure: object
    flunkOnWarnings: object
    warnOnFailure: object
    warnOnWarnings: object
    updateBuildSummaryPolicy: Collection[int] | bool | None
    logEncoding: str | Callable[..., Any] | None
    locks: object
    workdir: object
    build: StepBuild
    master: Master
    worker: ManagedWorker
    stepid: int
    number: int
    results: int | None
    stopped: bool
    rendered: bool
    waits_for_locks: bool
    cmd: RemoteCommand | None
    timed_out: bool

    @property
    def flags(self) -> Collection[str]: ...

    @property
    def workername(self) -> str: ...

    def render(self, value: object) -> Deferred[Any]: ...

    async def wait(self, delay: Deferred[T]) -> T: ...

    def set_rendered(self, name: str, value: object) -> None: ...

    async def default_workdir(self) -> object: ...

    def addTestResultSets(self) -> object: ...

    def run(self) -> object: ...

    def interrupt(self, reason: str | Failure) -> object: ...

    def getCurrentSummary(self) -> Summary: ...

    def getResultSummary(self) -> Summary: ...

    async def getBuildResultSummary(self) -> dict[str, str]: ...

    def addLog(self, name: str) -> Awaitable[Log]: ...
