"""A change source that polls, in a master, for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from buildbot.changes.base import PollError, PollingChangeSource
from buildbot.test.running import Running


class Polling:
    """A master in which one poller after the other polls, and the changes that they made.

    Args:
        master: its state layer.
        basedir: its directory.
        make: makes a poller of the arguments that `poll` is given.

    Attributes:
        dies_after: the number of transactions after which a poller dies; None: it lives.
    """

    def __init__(self, master: Any, basedir: Path | None, make: Callable[..., PollingChangeSource]) -> None:
        self.master, self.make = Running(master, basedir), make
        self.dies_after: int | None = None

    async def poll(self, **arguments: Any) -> list[dict[str, Any]]:
        """Poll with a new poller, which has the state in the database and on disk only; gives the new changes."""
        before = len(await self.changes())
        poller = self.make(**arguments)
        poller.master = self.master  # type: ignore[assignment]
        await poller.claim(self.master.masterid)
        if self.dies_after is not None:
            _let_die(poller, self.dies_after)
        await poller.poll()
        return (await self.changes())[before:]

    async def changes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.master.data.get({"order": ["changeid"]}, ("changes",))
        return found

    async def revisions(self) -> list[str]:
        return [change["revision"] for change in await self.changes()]


def _let_die(poller: PollingChangeSource, count: int) -> None:
    advance, left = poller.advance, count

    def mortal(changes: Any, position: Any) -> Any:
        nonlocal left
        if not left:
            raise PollError("killed")
        left -= 1
        return advance(changes, position)

    poller.advance = mortal  # type: ignore[method-assign]
