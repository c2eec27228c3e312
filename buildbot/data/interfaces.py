"""The master as its parts see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from buildbot.data.connector import DataConnector
from buildbot.db.connector import DBConnector
from buildbot.mq.connector import MQConnector
from buildbot.util.metrics import Metrics
from buildbot.util.reactor import IReactor

if TYPE_CHECKING:
    from buildbot.util.httpclient import HttpClient


class Master(Protocol):
    """The master for its parts: the state layer and its surroundings.

    `buildbot.state.StateLayer` is one, and so is `buildbot.master.BuildMaster`.
    """

    @property
    def name(self) -> str:
        """Host name and directory unless configured; unique in the installation."""

    @property
    def masterid(self) -> int:
        """Its id."""

    @property
    def db(self) -> DBConnector:
        """The database connectors."""

    @property
    def mq(self) -> MQConnector:
        """The message queue."""

    @property
    def data(self) -> DataConnector:
        """The Data API."""

    @property
    def metrics(self) -> Metrics:
        """The numbers that it reports."""

    @property
    def reactor(self) -> IReactor:
        """Twisted's reactor, or a Clock in tests; its time is good for measuring only, see `wall_seconds`."""

    @property
    def httpservice(self) -> HttpClient:
        """The client for requests to other servers."""

    def wall_seconds(self) -> float:
        """The present time, in Unix seconds; unlike the reactor's time it may be set forward and back."""

    def is_late(self) -> bool:
        """Whether its last check-in is so long ago that others may soon declare it dead."""
