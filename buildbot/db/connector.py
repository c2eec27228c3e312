"""The root of the database connectors, ``master.db``."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from buildbot.db.base import Cache, DBConnectorComponent, Invalidation
from buildbot.db.branches import BranchesConnectorComponent
from buildbot.db.build_data import BuildDataConnectorComponent
from buildbot.db.builders import BuildersConnectorComponent
from buildbot.db.buildrequests import BuildRequestsConnectorComponent
from buildbot.db.builds import BuildsConnectorComponent
from buildbot.db.buildsets import BuildsetsConnectorComponent
from buildbot.db.changes import ChangesConnectorComponent
from buildbot.db.changesources import ChangeSourcesConnectorComponent
from buildbot.db.codebases import CodebasesConnectorComponent
from buildbot.db.commits import CommitsConnectorComponent
from buildbot.db.deliveries import DeliveriesConnectorComponent
from buildbot.db.dialects import dialect_for
from buildbot.db.logs import LogsConnectorComponent
from buildbot.db.masters import MastersConnectorComponent
from buildbot.db.model import Model
from buildbot.db.pool import DBThreadPool
from buildbot.db.projects import ProjectsConnectorComponent
from buildbot.db.retention import RetentionConnectorComponent
from buildbot.db.schedulers import SchedulersConnectorComponent
from buildbot.db.sessions import SessionsConnectorComponent
from buildbot.db.sourcestamps import SourceStampsConnectorComponent
from buildbot.db.sourcestampsets import SourceStampSetsConnectorComponent
from buildbot.db.state import StateConnectorComponent
from buildbot.db.steps import StepsConnectorComponent
from buildbot.db.test_result_sets import TestResultSetsConnectorComponent
from buildbot.db.test_results import TestResultsConnectorComponent
from buildbot.db.users import UsersConnectorComponent
from buildbot.db.workers import WorkersConnectorComponent


class DBConnector:
    """Holds the pool, the model and one connector component for each noun."""

    def __init__(self, master: Any, db_url: str, reactor: Any, basedir: str | None = None) -> None:
        """Connect nothing yet.

        Raises InvalidURLError for a connection string that cannot work.
        """
        self.master = master
        #: this master's id and the epoch at which it runs; claims have both
        self.masterid = 0
        self.epoch = 0
        #: caches of getters by name, one for each component with a getter of that name
        self.caches: dict[str, list[Cache[Any, Any]]] = {}
        self.dialect = dialect_for(db_url, basedir)
        self.pool = DBThreadPool(self.dialect, reactor)
        self.model = Model(self.pool)
        self.state = StateConnectorComponent(self)
        self.masters = MastersConnectorComponent(self)
        self.projects = ProjectsConnectorComponent(self)
        self.codebases = CodebasesConnectorComponent(self)
        self.commits = CommitsConnectorComponent(self)
        self.branches = BranchesConnectorComponent(self)
        self.builders = BuildersConnectorComponent(self)
        self.workers = WorkersConnectorComponent(self)
        self.users = UsersConnectorComponent(self)
        self.sessions = SessionsConnectorComponent(self)
        self.deliveries = DeliveriesConnectorComponent(self)
        self.changes = ChangesConnectorComponent(self)
        self.changesources = ChangeSourcesConnectorComponent(self)
        self.schedulers = SchedulersConnectorComponent(self)
        self.sourcestampsets = SourceStampSetsConnectorComponent(self)
        self.sourcestamps = SourceStampsConnectorComponent(self)
        self.buildsets = BuildsetsConnectorComponent(self)
        self.buildrequests = BuildRequestsConnectorComponent(self)
        self.builds = BuildsConnectorComponent(self)
        self.steps = StepsConnectorComponent(self)
        self.logs = LogsConnectorComponent(self)
        self.build_data = BuildDataConnectorComponent(self)
        self.test_result_sets = TestResultSetsConnectorComponent(self)
        self.test_results = TestResultsConnectorComponent(self)
        self.retention = RetentionConnectorComponent(self)

    @property
    def invalidations(self) -> list[Invalidation]:
        """The events that make caches of the components invalid."""
        components = (each for each in vars(self).values() if isinstance(each, DBConnectorComponent))
        return [invalidation for each in components for invalidation in each.invalidations]

    def invalidate(self, cache_name: str, key: Any = None) -> None:
        """Forget the object of a key in a cache, or all objects."""
        for cache in self.caches.get(cache_name, ()):
            cache.invalidate(key)

    def close(self) -> Deferred[None]:
        """Finish the present calls and close all connections; Deferred."""
        return self.pool.close()
