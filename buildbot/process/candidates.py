"""The waiting requests of a builder with all their data, for users' functions.

``nextBuild`` gets all waiting requests, and is called again for each build. So the data of a request is read once, and
kept while the request waits; later only ids and priorities are read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from buildbot.data.interfaces import Master
from buildbot.process.buildercontract import RunningBuilder
from buildbot.process.buildrequest import WHOLE, BuildRequest
from buildbot.process.draining import AskedRequest, Draining
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.resources.buildsets import BuildsetDict

#: requests that are read first; mostly one of them is built
FIRST = 100
#: requests whose data is read in one query
CHUNK = 500
#: characters of a patch for functions; all waiting requests are in memory
PATCH_CHARS = 10_000
#: the fields that are read each time
_BRIEF = ("buildrequestid", "priority", "buildsetid", "waited_for")


class BriefRequest(AskedRequest):
    """The fields of a build request that are read each time, `_BRIEF`."""

    buildrequestid: int
    priority: int


class WholeRequest(BuildRequestDict):
    """A build request with its buildset, read with `WHOLE`."""

    buildset: BuildsetDict


class Candidate(NamedTuple):
    """A waiting request.

    Attributes:
        row: of the Data API.
        shown: for users' functions.
    """

    row: BuildRequestDict
    shown: BuildRequest


class Candidates:
    """The waiting requests of builders.

    Args:
        master: the master, for its ``data``.

    Attributes:
        draining: decides which requests are still built, if the master is stopping.
    """

    def __init__(self, master: Master) -> None:
        self.draining: Draining | None = None
        self._master = master
        #: by builder: the requests with data, by id
        self._known: WeakKeyDictionary[Any, dict[int, Candidate]] = WeakKeyDictionary()

    async def of(self, builder: RunningBuilder) -> AsyncIterator[Candidate]:
        """The requests of a builder, the most urgent first; read as the caller goes on."""
        known = self._known.setdefault(builder, {})
        brief = await self._brief(builder, FIRST)
        async for each in self._whole(builder, known, brief):
            yield each
        if len(brief) < FIRST:
            self._keep(known, brief)
            return
        brief = await self._brief(builder)
        self._keep(known, brief)
        async for each in self._whole(builder, known, brief[FIRST:]):
            yield each

    async def all_of(self, builder: RunningBuilder) -> list[Candidate]:
        """All waiting requests of a builder."""
        return [each async for each in self.of(builder)]

    async def first(self, builder: RunningBuilder) -> BuildRequestDict | None:
        """The most urgent request, as the Data API gives it; None if none waits."""
        found: Sequence[BuildRequestDict] = await self._waiting(builder, 1, None)
        return found[0] if found else None

    async def _brief(self, builder: RunningBuilder, limit: int | None = None) -> Sequence[BriefRequest]:
        found: Sequence[BriefRequest] = await self._waiting(builder, limit, _BRIEF)
        return found

    async def _waiting(self, builder: RunningBuilder, limit: int | None, fields: tuple[str, ...] | None) -> list[Any]:
        filters = {"builderid": builder.builderid, "claimed": False, "complete": False}
        query: dict[str, Any] = {"order": ["-priority", "buildrequestid"], "fields": fields}
        if self.draining is None:
            return await self._get({**query, "filters": filters, "limit": limit})
        found = await self._get({**query, "filters": {**filters, **self.draining.filters}})
        return [each for each in found if await self.draining.needs(each)][:limit]

    def forget(self, builder: RunningBuilder, row: BuildRequestDict) -> None:
        """Forget a request that will be built."""
        self._known.get(builder, {}).pop(row["buildrequestid"], None)

    async def _get(self, query: dict[str, Any]) -> list[Any]:
        found: list[Any] = await self._master.data.get(query, ("buildrequests",))
        return found

    @staticmethod
    def _keep(known: dict[int, Candidate], brief: Iterable[BriefRequest]) -> None:
        """Forget the requests that wait no more."""
        for brid in known.keys() - {each["buildrequestid"] for each in brief}:
            del known[brid]

    async def _whole(
        self, builder: RunningBuilder, known: dict[int, Candidate], brief: Sequence[BriefRequest]
    ) -> AsyncIterator[Candidate]:
        for start in range(0, len(brief), CHUNK):
            chunk = brief[start : start + CHUNK]
            await self._read(builder, known, chunk)
            for each in chunk:
                found = known.get(each["buildrequestid"])
                if found is not None:  # another master may have claimed it meanwhile
                    yield found

    async def _read(self, builder: RunningBuilder, known: dict[int, Candidate], chunk: Sequence[BriefRequest]) -> None:
        """Read the data of these requests."""
        missing = [
            each["buildrequestid"]
            for each in chunk
            if each["buildrequestid"] not in known or known[each["buildrequestid"]].row["priority"] != each["priority"]
        ]
        if missing:
            filters = {"buildrequestid": missing, "claimed": False, "complete": False}
            whole: list[WholeRequest] = await self._get({**WHOLE, "filters": filters})
            for row in whole:
                _cut_patches(row)
                known[row["buildrequestid"]] = Candidate(row, BuildRequest.from_data(row, builder.name))


def _cut_patches(row: WholeRequest) -> None:
    """Keep only the beginning of patches, which may be long; a build reads them from the database."""
    for stamp in row["buildset"]["sourcestamps"]:
        patch = stamp["patch"]
        if patch is not None and len(patch["body"]) > PATCH_CHARS:
            stamp["patch"] = {**patch, "body": patch["body"][:PATCH_CHARS]}
