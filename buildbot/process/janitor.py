"""The janitor: removes old rows, in small batches.

The active master with the lowest id does it, every ``INTERVAL_S`` seconds. A pass goes through each noun in batches of
a few milliseconds, with pauses between them, so that other writers do not wait for it. It keeps no state: an
interrupted pass begins anew, and two passes at the same time do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from buildbot.config.retention import Retention
from buildbot.data.interfaces import Master
from buildbot.resources.masters import MasterDict
from buildbot.util.background import in_background

_log = Logger()

INTERVAL_S = 3600
#: between two batches
PAUSE_S = 0.1

#: the next batch of an update method of retention
_Batch = Callable[[tuple[int, int]], "Deferred[tuple[int, int] | None]"]


class Janitor:
    """The janitor of one master.

    Args:
        master: the master.
        retention: how long rows are kept; may be replaced at any time.
    """

    def __init__(self, master: Master, retention: Retention) -> None:
        self.retention = retention
        self._master = master
        self._loop = LoopingCall(self._tidy)
        self._loop.clock = master.reactor
        self._passing: Deferred[Any] | None = None

    def start(self) -> None:
        """Begin with the first pass."""
        self._loop.start(INTERVAL_S, now=True)

    def stop(self) -> None:
        """Begin no further batch; a running one ends by itself."""
        if self._loop.running:
            self._loop.stop()
        if self._passing is not None:
            self._passing.cancel()

    async def tidy(self) -> None:
        """Run one pass, if this master is the one that does it."""
        if not await self._is_first():
            return
        for batch in self._batches():
            place: tuple[int, int] | None = (0, 0)
            while place is not None:
                place = await batch(place)
                await deferLater(self._master.reactor, PAUSE_S, lambda: None)

    def _tidy(self) -> Deferred[Any]:
        self._passing = in_background(self.tidy(), "removing old rows")
        return self._passing

    async def _is_first(self) -> bool:
        options = {"filters": {"active": True}, "fields": ["masterid"], "order": ["masterid"], "limit": 1}
        active: list[MasterDict] = await self._master.data.get(options, ("masters",))
        return [each["masterid"] for each in active] == [self._master.masterid]

    def _batches(self) -> list[_Batch]:
        """The batches of a pass; rows that refer to others come before these."""
        update, kept = self._master.data.update, self.retention
        batches: list[_Batch] = []
        if (logs := kept.logs) is not None:
            batches.append(lambda place: update.pruneLogs(logs, kept.keep_builds, place))
        if (data := kept.build_data) is not None:
            batches.append(lambda place: update.pruneBuildData(data, kept.keep_builds, place))
        if (builds := kept.builds) is not None:
            batches.append(lambda place: update.pruneBuilds(builds, kept.keep_builds, place))
            batches.append(lambda place: update.pruneBuildsets(builds, place))
        if (changes := kept.changes) is not None:
            batches.append(lambda place: update.pruneChanges(changes, place))
            batches.append(lambda place: update.pruneSourceStamps(changes, place))
        return batches
