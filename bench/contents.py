"""What is in a database before anything is measured: finished requests, and pending ones for those who use them up."""

from __future__ import annotations

from typing import Protocol


class Contents(Protocol):
    """The rows of one actor's database."""

    def found(self) -> None:
        """Masters, builders, workers and the first finished requests; once, in a new database."""

    def finish_all(self) -> None:
        """Complete all requests that are pending."""

    def add_finished(self, count: int) -> None:
        """More requests that are complete, without builds."""

    def add_pending(self, count: int) -> tuple[int, int]:
        """More pending requests, one to a buildset: the first id, and how many."""

    def settle(self) -> None:
        """Leave no work behind that a measurement would do."""

    def flush(self) -> None:
        """The same in a moment, after a few rows."""

    def close(self) -> None:
        """Disconnect."""
