"""The master as its parts see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from buildbot.data.connector import DataConnector
from buildbot.db.connector import DBConnector
from buildbot.mq.connector import MQConnector
from buildbot.util.metrics import Metrics

if TYPE_CHECKING:
    from buildbot.util.httpclient import HttpClient


class Master(Protocol):
    """What the parts of a master may ask of it: the state layer, and where it lives.

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
        """What it says of itself in numbers."""

    @property
    def reactor(self) -> Any:
        """Twisted's reactor, or a Clock in tests; its time is good for measuring only, see `wall_seconds`."""

    @property
    def httpservice(self) -> HttpClient:
        """The client for requests to other servers."""

    def wall_seconds(self) -> float:
        """What time it is, in Unix seconds; unlike the reactor's time it may be set forth and back."""

    def is_late(self) -> bool:
        """Whether it has not said for so long that it is alive that the others may soon take it for dead."""
