"""The part of the Data API that handlers of GET need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from buildbot.db.logsearch import Found

T = TypeVar("T")


class Endpoint(Protocol):
    """The endpoint of a path."""

    @property
    def plural(self) -> str:
        """The name of the resources in the reply."""

    @property
    def is_collection(self) -> bool:
        """Whether it gives a list."""

    @property
    def kind(self) -> str:
        """How it is read."""

    @property
    def growing(self) -> bool:
        """Whether the collection grows with every build."""

    @property
    def compared(self) -> Mapping[str, str]:
        """The attributes of the resources there, with the kinds of the values that filters compare them with."""

    @property
    def announced(self) -> bool:
        """Whether every change of the resources there is an event."""


class Data(Protocol):
    """The Data API, for GET."""

    def endpoint(self, path: tuple[str, ...]) -> Endpoint:
        """The endpoint of a path; InvalidPathError if there is none."""

    def read(self, options: dict[str, Any], path: tuple[Any, ...], finish: Callable[[Any, int], T]) -> Deferred[T]:
        """The result of a function of the data and its clock; the data has no links. The function runs in a thread."""

    def locks(self) -> list[dict[str, Any]]:
        """The locks of this master that builds and steps hold or wait for."""

    def data_version(self) -> int | None:
        """SQLite's data version; None on other databases, where the clock serves."""

    def version(self) -> Awaitable[tuple[int, int]]:
        """The version of the data, which differs after any change, and the clock."""

    def log_bytes(self, logid: int, first_line: int, stripped: bool) -> Deferred[tuple[bytes, int] | None]:
        """A part of a log, and the line after it."""

    def log_sizes(self, logid: int, stripped: bool) -> Deferred[list[tuple[int, int]]]:
        """First lines and sizes of the parts of a log."""

    def log_search(
        self, logid: int, first_line: int, prefixed: bool, needle: bytes, most: int
    ) -> Deferred[Found | None]:
        """Lines of a part of a log that have a text."""
