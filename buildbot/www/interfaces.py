"""The part of the Data API that whoever answers GET reads from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from buildbot.db.logsearch import Found

T = TypeVar("T")


class Endpoint(Protocol):
    """What the Data API says about a path."""

    @property
    def plural(self) -> str:
        """What the reply calls it."""

    @property
    def is_collection(self) -> bool:
        """Whether it gives a list."""

    @property
    def kind(self) -> str:
        """How it is read."""

    @property
    def growing(self) -> bool:
        """Whether there is more of it with every build."""

    @property
    def compared(self) -> Mapping[str, str]:
        """Attributes of what is there, with the kinds of what filters compare them with."""

    @property
    def announced(self) -> bool:
        """Whether everything that happens to what is there is an event."""


class Data(Protocol):
    """What GET needs."""

    def endpoint(self, path: tuple[str, ...]) -> Endpoint:
        """Facts about a path; InvalidPathError if there is none."""

    def read(self, options: dict[str, Any], path: tuple[Any, ...], finish: Callable[[Any, int], T]) -> Deferred[T]:
        """What is made of data, without links, and the clock at which it was true; in a thread."""

    def locks(self) -> list[dict[str, Any]]:
        """The locks of this master that somebody holds or waits for."""

    def data_version(self) -> int | None:
        """The version of the database, if it costs nothing to know; None if it is the clock."""

    def version(self) -> Awaitable[tuple[int, int]]:
        """What is another number once anything has changed, and the clock."""

    def log_bytes(self, logid: int, first_line: int, stripped: bool) -> Deferred[tuple[bytes, int] | None]:
        """A part of a log, and the line after it."""

    def log_sizes(self, logid: int, stripped: bool) -> Deferred[list[tuple[int, int]]]:
        """First lines and sizes of the parts of a log."""

    def log_search(
        self, logid: int, first_line: int, prefixed: bool, needle: bytes, most: int
    ) -> Deferred[Found | None]:
        """Lines of a part of a log that have a text."""
