"""Updates of steps. Each fails with ``NotClaimedError`` if this master no longer holds the build's request."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.steps import STEP
from buildbot.util import checks


class StepUpdates(Transacts):
    """``newStep``, ``startStep``, ``setStepStateString``, ``addStepURL``, ``finishStep``."""

    def newStep(self, buildid: int, name: str, hidden: bool = False) -> Deferred[dict[str, Any]]:
        """Add the next step of a build. Event: ``steps/N/new``.

        Returns:
            Deferred with ``stepid``, ``number``, and ``name``, which is made unique in the build by ``_1``, ``_2``, …
        """
        return self.transact(self._thdNewStep, buildid, name, hidden)

    def _thdNewStep(self, conn: Connection, events: Events, buildid: int, name: str, hidden: bool) -> dict[str, Any]:
        step = self._db.steps.thdAdd(conn, buildid, name, hidden)
        events.announce(STEP, "new", step["stepid"])
        return step

    def newStartedStep(self, buildid: int, name: str, locks_acquired: bool = True) -> Deferred[dict[str, Any]]:
        """Add the next step of a build, and begin it. Events: ``steps/N/new``, ``steps/N/started``.

        Returns:
            as ``newStep``.
        """
        return self.transact(self._thdNewStartedStep, buildid, name, locks_acquired)

    def _thdNewStartedStep(
        self, conn: Connection, events: Events, buildid: int, name: str, locks_acquired: bool
    ) -> dict[str, Any]:
        step = self._db.steps.thdAdd(conn, buildid, name, False, True, locks_acquired)
        events.announce(STEP, "new", step["stepid"], changes={"started_at": None, "locks_acquired_at": None})
        events.announce(STEP, "started", step["stepid"])
        return step

    def startStep(self, stepid: int, locks_acquired: bool = True) -> Deferred[None]:
        """Begin a step. Event: ``steps/N/started``."""
        return self.transact(self._thdStartStep, stepid, locks_acquired)

    def _thdStartStep(self, conn: Connection, events: Events, stepid: int, locks_acquired: bool) -> None:
        self._db.steps.thdStart(conn, stepid, locks_acquired)
        events.announce(STEP, "started", stepid)

    def setStepLocksAcquired(self, stepid: int) -> Deferred[None]:
        """Store that a running step has its locks now. Event: ``steps/N/updated``."""
        return self.transact(self._thdSetLocksAcquired, stepid)

    def _thdSetLocksAcquired(self, conn: Connection, events: Events, stepid: int) -> None:
        self._db.steps.thdSetLocksAcquired(conn, stepid)
        events.announce(STEP, "updated", stepid)

    def setStepStateString(self, stepid: int, state_string: str) -> Deferred[None]:
        """Set the state string of a step: what it is doing. Event: ``steps/N/updated``."""
        return self.transact(self._thdSetStepState, stepid, state_string)

    def _thdSetStepState(self, conn: Connection, events: Events, stepid: int, state_string: str) -> None:
        self._db.steps.thdSetState(conn, stepid, state_string)
        events.announce(STEP, "updated", stepid)

    def addStepURL(self, stepid: int, name: str, url: str) -> Deferred[None]:
        """Add a link to a step; one with the same name is replaced. Event: ``steps/N/updated``."""
        return self.transact(self._thdAddURL, stepid, name, url)

    def _thdAddURL(self, conn: Connection, events: Events, stepid: int, name: str, url: str) -> None:
        self._db.steps.thdAddURL(conn, stepid, name, url)
        events.announce(STEP, "updated", stepid)

    def finishStep(
        self, stepid: int, results: int, hidden: bool = False, state_string: str | None = None
    ) -> Deferred[None]:
        """End a step. Event: ``steps/N/finished``.

        Args:
            hidden: whether pages hide it.
            state_string: its last one. The event ``steps/N/updated`` then comes before the other one, with the step
                as it was but for this, and not hidden.
        """
        return self.transact(self._thdFinishStep, stepid, results, hidden, state_string)

    def _thdFinishStep(
        self, conn: Connection, events: Events, stepid: int, results: int, hidden: bool, state_string: str | None
    ) -> None:
        self._db.steps.thdFinish(conn, stepid, results, hidden, state_string)
        if state_string is None:
            events.announce(STEP, "finished", stepid)
        else:
            self._thdAnnounceStepEnd(conn, events, stepid)

    def _thdFinishStepAhead(
        self,
        conn: Connection,
        events: Events,
        stepid: int,
        announced: str,
        results: int,
        hidden: bool,
        state_string: str,
    ) -> None:
        """Announce a state string of a step, and store its end ahead of `_thdAnnounceStepEnd`."""
        self._db.steps.thdFinish(conn, stepid, results, hidden, state_string)
        shown = checks.text(announced, "state_string")
        events.announce(STEP, "updated", stepid, changes={**_RUNNING, "state_string": shown})

    def _thdAnnounceStepEnd(self, conn: Connection, events: Events, stepid: int) -> None:
        events.announce(STEP, "updated", stepid, changes=_RUNNING)
        events.announce(STEP, "finished", stepid)


#: the attributes of a step that runs
_RUNNING = {"complete": False, "complete_at": None, "results": None, "hidden": False}
