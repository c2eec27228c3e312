"""The update section of the Data API, ``master.data.update``: everything that the process layer writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from buildbot.data.base import Events
from buildbot.data.branches import BranchUpdates
from buildbot.data.build_data import BuildDataUpdates
from buildbot.data.builders import BuilderUpdates
from buildbot.data.buildrequests import BuildRequestUpdates
from buildbot.data.builds import BuildUpdates
from buildbot.data.buildsets import BuildsetUpdates
from buildbot.data.changes import ChangeUpdates
from buildbot.data.codebases import CodebaseUpdates
from buildbot.data.commits import CommitUpdates
from buildbot.data.logs import LogUpdates
from buildbot.data.masters import MasterUpdates
from buildbot.data.projects import ProjectUpdates
from buildbot.data.retention import RetentionUpdates
from buildbot.data.schedulers import SchedulerUpdates
from buildbot.data.steps import StepUpdates
from buildbot.data.test_result_sets import TestResultSetUpdates
from buildbot.data.test_results import TestResultUpdates
from buildbot.data.workers import WorkerUpdates
from buildbot.db.connector import DBConnector
from buildbot.db.dialects.context import transaction_of
from buildbot.mq.connector import MQConnector
from buildbot.resources import RESOURCES, Resource
from buildbot.util import checks

P = ParamSpec("P")
T = TypeVar("T")


class Updates(
    MasterUpdates,
    ChangeUpdates,
    ProjectUpdates,
    CodebaseUpdates,
    CommitUpdates,
    BranchUpdates,
    BuilderUpdates,
    SchedulerUpdates,
    WorkerUpdates,
    BuildsetUpdates,
    BuildRequestUpdates,
    BuildUpdates,
    StepUpdates,
    LogUpdates,
    BuildDataUpdates,
    TestResultSetUpdates,
    TestResultUpdates,
    RetentionUpdates,
):
    """Every method is one transaction that writes the state and the events that announce it."""

    def __init__(self, db: DBConnector, mq: MQConnector) -> None:
        self._db = db
        self._mq = mq
        #: attempts of this master to claim requests: won, and lost to another master
        self.claims = {"won": 0, "lost": 0}

    def transact(
        self, thd: Callable[Concatenate[Connection, Events, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Run ``thd(conn, events, …)`` in one transaction, which also stores the events that it announces."""
        return self._db.pool.do(_with_events, thd, args, kwargs)

    def transact_all(self, thd: Callable[..., None], ids: Any, what: str, *args: Any) -> Deferred[None]:
        """As ``Transacts.transact_all``."""
        try:
            checked = checks.identifiers(ids, what)
        except Exception:
            return fail()
        return self._db.pool.do_all(_all_with_events, checked, thd, *args)

    def transact_each(
        self, thd: Callable[..., list[int]], identifier: int, refusal: type[Exception], *args: Any
    ) -> Deferred[bool]:
        """As ``Transacts.transact_each``."""
        return self._db.pool.do_each(_all_with_events, identifier, thd, *args)

    def batch(self) -> UpdateBatch:
        """Update methods whose calls are gathered and sent as one transaction."""
        return UpdateBatch(self._db, self._mq, self.claims)

    def trimEvents(self, seconds: int, keep: int | None = None) -> Deferred[int]:
        """Remove events from the log.

        Args:
            seconds: events older than this are removed; 0: all.
            keep: the number of newest events that may stay; None: any number.

        Returns:
            Deferred with the last number removed.
        """
        before = self._db.pool.groups.clock.now() - checks.integer(seconds, "seconds", maximum=checks.MAX_INT)
        return self._mq.trim(before, None if keep is None else checks.integer(keep, "keep", 0, checks.MAX_INT))


@dataclass(frozen=True)
class Result:
    """The result of an earlier call of the same batch, as an argument of a later call."""

    index: int
    key: str | None

    def of(self, outcomes: list[Any]) -> Any:
        """The value, once that call has run."""
        return outcomes[self.index] if self.key is None else outcomes[self.index][self.key]


@dataclass
class _Gathered:
    """A call of a batch."""

    thd: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    deferred: Deferred[Any]

    def become(self, thd: Callable[..., Any], *args: Any) -> None:
        """Be another call, in the same place."""
        self.thd, self.args = thd, args


#: the functions that change a build, and a step; the first argument is its id
_OF_BUILDS: frozenset[object] = frozenset(
    {BuildUpdates._thdSetBuildState, BuildUpdates._thdSetLocks, BuildUpdates._thdFinishBuild, BuildUpdates._thdEndBuild}
)
_OF_STEPS: frozenset[object] = frozenset(
    {
        StepUpdates._thdStartStep,
        StepUpdates._thdSetLocksAcquired,
        StepUpdates._thdSetStepState,
        StepUpdates._thdAddURL,
        StepUpdates._thdFinishStep,
    }
)


class UpdateBatch(Updates):
    """Update methods whose calls are gathered, and sent as one transaction: all of them take effect, or none.

    They run in the order of the calls, with the same checks, fences and events as single calls, but with one commit for
    all::

        batch = master.data.update.batch()
        step = batch.newStep(buildid, "compile")
        batch.startStep(batch.result(step, "stepid"))
        await batch.send()
        stepid = (await step)["stepid"]

    The Deferred of a call fires when the batch is stored, or fails with the error of `send`; callers may ignore it
    there. A batch can be filled again after it was sent.

    Of the state strings that it sets for one build or step, only the last is written: nobody could read the others.
    They are announced, each in its place.
    """

    def __init__(self, db: DBConnector, mq: MQConnector, claims: dict[str, int]) -> None:
        super().__init__(db, mq)
        self.claims = claims
        self._calls: list[_Gathered] = []

    def __len__(self) -> int:
        return len(self._calls)

    def result(self, call: Deferred[Any], key: str | None = None) -> Any:
        """A stand-in for the result of an earlier call, or for ``key`` in it, as an argument of a later call.

        Raises ValueError if this batch has gathered no such call since it was last sent.
        """
        for index, gathered in enumerate(self._calls):
            if gathered.deferred is call:
                return Result(index, key)
        raise ValueError("call: this batch has not gathered it")

    def setBuildStateString(self, buildid: int, state_string: str) -> Deferred[None]:
        """As ``Updates.setBuildStateString``."""
        made = self._calls[buildid.index] if isinstance(buildid, Result) else None
        earlier = self._last_of(_OF_BUILDS, buildid) or made
        if earlier is not None and earlier.thd == self._thdSetBuildState:
            earlier.become(self._thdSetBuildStateAhead, *earlier.args, state_string)
        elif earlier is not None and earlier.thd == self._thdNewBuild:
            earlier.become(self._thdNewBuildAhead, *earlier.args, state_string)
        else:
            return super().setBuildStateString(buildid, state_string)
        return self.transact(self._thdAnnounceBuild, buildid)

    def endBuild(self, buildid: int, brid: int, results: int) -> Deferred[None]:
        """As ``Updates.endBuild``."""
        last = self._calls[-1] if self._calls else None
        if last is None or last.thd != self._thdSetBuildState or last.args[0] != buildid:
            return super().endBuild(buildid, brid, results)
        state_string = last.args[1]
        last.become(_done_later)
        return self.transact(self._thdEndBuildShowing, buildid, brid, results, state_string)

    def finishStep(
        self, stepid: int, results: int, hidden: bool = False, state_string: str | None = None
    ) -> Deferred[None]:
        """As ``Updates.finishStep``."""
        earlier = self._last_of(_OF_STEPS, stepid)
        if state_string is None or earlier is None or earlier.thd != self._thdSetStepState:
            return super().finishStep(stepid, results, hidden, state_string)
        earlier.become(self._thdFinishStepAhead, *earlier.args, results, hidden, state_string)
        return self.transact(self._thdAnnounceStepEnd, stepid)

    def _last_of(self, methods: frozenset[object], identifier: object) -> _Gathered | None:
        """The last call of these methods that changes a row."""
        return next(
            (
                call
                for call in reversed(self._calls)
                if call.args and call.args[0] == identifier and getattr(call.thd, "__func__", None) in methods
            ),
            None,
        )

    def transact(
        self, thd: Callable[Concatenate[Connection, Events, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Gather a call."""
        return self._gather(thd, args, kwargs)

    def transact_all(self, thd: Callable[..., None], ids: Any, what: str, *args: Any) -> Deferred[None]:
        """Gather a call for several ids."""
        try:
            checked = checks.identifiers(ids, what)
        except Exception:
            return fail()
        return self._gather(thd, (checked, *args), {})

    def transact_each(
        self, thd: Callable[..., list[int]], identifier: int, refusal: type[Exception], *args: Any
    ) -> Deferred[bool]:
        """Gather a call for one id."""

        def done(conn: Connection, events: Events) -> bool:
            if identifier not in thd(conn, events, [identifier], *args):
                raise refusal(f"{identifier} cannot be had")
            return True

        return self._gather(done, (), {})

    def _gather(self, thd: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deferred[Any]:
        gathered = _Gathered(thd, args, kwargs, Deferred())
        self._calls.append(gathered)
        return gathered.deferred

    def send(self) -> Deferred[None]:
        """Store the gathered calls, in one transaction.

        Returns:
            Deferred that fires once all of them are committed. It fails with the error of the first call that failed;
            then nothing of the batch is stored.
        """
        calls, self._calls = self._calls, []
        if not calls:
            return succeed(None)

        def stored(outcomes: list[Any]) -> None:
            for call, outcome in zip(calls, outcomes, strict=True):
                call.deferred.callback(outcome)

        def failed(failure: Failure) -> Failure:
            for call in calls:
                call.deferred.errback(failure)
                call.deferred.addErrback(lambda _: None)
            return failure

        return self._db.pool.do(_run_all, calls).addCallbacks(stored, failed)


def _done_later(conn: Connection, events: Events) -> None:
    """A call whose work the next one does."""


def _run_all(conn: Connection, calls: list[_Gathered]) -> list[Any]:
    outcomes: list[Any] = []
    for call in calls:
        args = tuple([each.of(outcomes) if isinstance(each, Result) else each for each in call.args])
        outcomes.append(_with_events(conn, call.thd, args, call.kwargs))
    return outcomes


#: the noun and event that announce a row which was added on first use of its name, by table
_MADE: dict[str, tuple[Resource, str]] = {each.table.name: (each, each.made) for each in RESOURCES if each.made}


def _all_with_events(conn: Connection, ids: list[int], thd: Callable[..., T], *args: Any) -> T:
    return _with_events(conn, thd, (ids, *args), {})


def _with_events(conn: Connection, thd: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    made = transaction_of(conn).made
    before = len(made)
    events = Events(conn)
    result = thd(conn, events, *args, **kwargs)
    for table, identifier in made[before:]:
        if table in _MADE:
            resource, event = _MADE[table]
            events.announce(resource, event, identifier)
    return result
