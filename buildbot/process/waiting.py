"""The most urgent requests that wait for some builders.

The queue in the database may be very long. This process knows only its beginning: the pages that it has read, and the
events since. A builder may have a *horizon*: less urgent requests of it may wait that are not known here. The next
request is the most urgent known one, unless a horizon is more urgent; then the next page of all builders with a horizon
is read. So the cost of a step does not depend on the length of the queue, and an announced request costs no statement.

A known request may be gone from the database (another master claimed it, or it was cancelled); the claim finds out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from heapq import heappop, heappush

from buildbot.mq.log import Event
from buildbot.resources.buildrequests import BuildRequestDict

#: requests that are read at once
PAGE = 200
#: requests that are known at once; of announced requests beyond this number, only the horizon is kept
MOST = 2_000

Request = BuildRequestDict
#: the urgency: priority, then age; lower is more urgent
Urgency = tuple[int, int]
_EVERYTHING: Urgency = (-(1 << 62), 0)

#: reads the most urgent requests of builders: ``read(builderids, limit)``
Read = Callable[[Sequence[int], int], Awaitable[Sequence[Request]]]


def urgency_of(request: Request) -> Urgency:
    """The urgency of a request."""
    return -request["priority"], request["buildrequestid"]


class WaitingRequests:
    """The waiting requests of some builders. A builder is in it while its requests are wanted.

    Args:
        read: see `Read`; it gives requests that are neither claimed nor complete.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._builders: dict[int, int] = {}
        self._generation = 0
        self._known: dict[int, Request] = {}
        self._ids: dict[int, set[int]] = {}
        self._taken: dict[int, int] = {}
        #: requests that were announced while they were taken; builders with an announced request during a read
        self._announced: set[int] = set()
        self._late: set[int] | None = None
        self._horizons: dict[int, Urgency] = {}
        #: urgency; then the builder, its generation, and the request's id or 0 for a horizon
        self._heap: list[tuple[Urgency, int, int, int]] = []

    def __contains__(self, builderid: int) -> bool:
        return builderid in self._builders

    def add(self, builderid: int) -> None:
        """Add a builder; none of its requests is known yet. If it is in it already, nothing changes."""
        if builderid not in self._builders:
            self._generation += 1
            self._builders[builderid] = self._generation
            self._look_beyond(builderid, _EVERYTHING)

    def remove(self, builderid: int) -> None:
        """Remove a builder, and forget its requests."""
        self._builders.pop(builderid, None)
        self._horizons.pop(builderid, None)
        for brid in self._ids.pop(builderid, ()):
            del self._known[brid]

    def again(self, builderid: int) -> None:
        """Forget the requests of a builder, and add it anew."""
        self.remove(builderid)
        self.add(builderid)

    def hear(self, event: Event, key: tuple[str, ...]) -> None:
        """Take an event of a request of a builder: ``builders/N/buildrequests/M/…``."""
        builderid, brid, name = int(key[1]), int(key[3]), key[4]
        if builderid not in self._builders:
            return
        if name in ("new", "unclaimed", "update"):
            request: Request = event.message
            self._forget(brid)
            if not request["claimed"] and not request["complete"]:
                self._announce(request)
        else:  # the request waits no more
            self._forget(brid)

    def take(self, request: Request) -> None:
        """Take a request, to claim it: it is not given out until `settle`."""
        brid = request["buildrequestid"]
        self._forget(brid)
        self._taken[brid] = request["builderid"]

    def forget(self, request: Request) -> None:
        """It may not be claimed for now: it is not given out before it is announced or read anew."""
        self._forget(request["buildrequestid"])

    def settle(self, request: Request) -> None:
        """The claim is decided: events of the request count again."""
        brid = request["buildrequestid"]
        builderid = self._taken.pop(brid, 0)
        if brid in self._announced:
            self._announced.discard(brid)
            if builderid in self._builders:
                self.again(builderid)

    async def first(self) -> Request | None:
        """The most urgent request; None if none waits. It stays here until `take`."""
        while self._heap:
            _, builderid, generation, brid = self._heap[0]
            if self._builders.get(builderid) != generation:
                heappop(self._heap)
            elif not brid:
                if self._horizons.get(builderid) != self._heap[0][0]:
                    heappop(self._heap)
                else:
                    await self._read_on()
            else:
                request = self._known.get(brid)
                if request is not None and urgency_of(request) == self._heap[0][0]:
                    return request
                heappop(self._heap)
        return None

    async def _read_on(self) -> None:
        asked = {builderid: self._builders[builderid] for builderid in self._horizons}
        limit = PAGE + len(self._taken)  # taken requests are not given out again
        self._late = set()
        try:
            found = await self._read(list(asked), limit)
        finally:
            late, self._late = self._late, None
        for request in found:
            builderid, brid = request["builderid"], request["buildrequestid"]
            wanted = self._builders.get(builderid) == asked[builderid]
            if wanted and brid not in self._known and brid not in self._taken:
                self._add(request)
        for builderid, generation in asked.items():
            if self._builders.get(builderid) != generation:
                continue
            self._horizons.pop(builderid, None)
            if len(found) == limit:
                priority, brid = urgency_of(found[-1])
                self._look_beyond(builderid, (priority, brid + 1))
        for builderid in late & self._builders.keys():
            self._look_beyond(builderid, _EVERYTHING)

    def _announce(self, request: Request) -> None:
        builderid, brid = request["builderid"], request["buildrequestid"]
        if brid in self._taken:
            self._announced.add(brid)
        elif len(self._known) < MOST:
            self._add(request)
        elif self._late is not None:
            self._late.add(builderid)
        else:
            self._look_beyond(builderid, urgency_of(request))

    def _add(self, request: Request) -> None:
        builderid, brid = request["builderid"], request["buildrequestid"]
        self._known[brid] = request
        self._ids.setdefault(builderid, set()).add(brid)
        heappush(self._heap, (urgency_of(request), builderid, self._builders[builderid], brid))

    def _forget(self, brid: int) -> None:
        request = self._known.pop(brid, None)
        if request is not None:
            self._ids[request["builderid"]].discard(brid)

    def _look_beyond(self, builderid: int, urgency: Urgency) -> None:
        """Set the horizon of a builder: less urgent requests than this may wait."""
        horizon = min(urgency, self._horizons.get(builderid, urgency))
        if self._horizons.get(builderid) != horizon:
            self._horizons[builderid] = horizon
            heappush(self._heap, (horizon, builderid, self._builders[builderid], 0))
