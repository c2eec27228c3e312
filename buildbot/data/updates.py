"""The update section of the Data API, ``master.data.update``: everything that the process layer writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events
from buildbot.data.builders import BuilderUpdates
from buildbot.data.buildrequests import BuildRequestUpdates
from buildbot.data.builds import BuildUpdates
from buildbot.data.buildsets import BuildsetUpdates
from buildbot.data.changes import ChangeUpdates
from buildbot.data.logs import LogUpdates
from buildbot.data.masters import MasterUpdates
from buildbot.data.schedulers import SchedulerUpdates
from buildbot.data.steps import StepUpdates
from buildbot.data.workers import WorkerUpdates
from buildbot.db.connector import DBConnector
from buildbot.mq.connector import MQConnector
from buildbot.util import checks, clock

T = TypeVar("T")


class Updates(
    MasterUpdates,
    ChangeUpdates,
    BuilderUpdates,
    SchedulerUpdates,
    WorkerUpdates,
    BuildsetUpdates,
    BuildRequestUpdates,
    BuildUpdates,
    StepUpdates,
    LogUpdates,
):
    """Every method is one transaction that writes the state and the events that announce it.

    Source: specification 003, Update; readings, Update methods.
    """

    def __init__(self, db: DBConnector, mq: MQConnector) -> None:
        self._db = db
        self._mq = mq

    def transact(self, thd: Callable[..., T], *args: Any, **kwargs: Any) -> Deferred[T]:
        """Run ``thd(conn, events, …)`` in one transaction, together with the events that it announces."""
        return self._db.pool.do(_with_events, thd, args, kwargs)

    def trimEvents(self, seconds: int) -> Deferred[int]:
        """Remove events older than so many seconds from the log, 0: all. Deferred with the last number removed."""
        return self._mq.trim(clock.now() - checks.integer(seconds, "seconds", maximum=checks.MAX_INT))


def _with_events(conn: Connection, thd: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    return thd(conn, Events(conn), *args, **kwargs)
