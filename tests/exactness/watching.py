"""Watchers: a snapshot, the events after it, later snapshots; and whether they agree."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.logger import Logger

from buildbot.data.exceptions import SinceTooOldError
from buildbot.resources import RESOURCES
from buildbot.resources.base import Resource
from tests.exactness.paths import choose
from tests.exactness.processes import reactor, sleep
from tests.exactness.records import Records
from tests.exactness.replica import Replica, checksum, is_announced
from tests.exactness.settings import Settings
from tests.exactness.sources import Following, Source, UnreachableError

log = Logger()

_BY_PLURAL: dict[str, Resource] = {resource.plural: resource for resource in RESOURCES}
#: nouns with a list of their own; of those that grow only the newest are looked at
_LISTS = [r.plural for r in RESOURCES if is_announced(r) and any(path.pattern == r.plural for path in r.paths)]
#: lists inside of a resource
_INNER = (("builds", "steps"), ("builders", "builds"), ("builders", "buildrequests"), ("steps", "logs"))
_NEWEST = 100
#: how long a subscription may take to come to a point of the past
_PATIENCE_S = 40.0


@dataclass(frozen=True)
class View:
    """A path to watch.

    Attributes:
        resource: the noun.
        path: of a list, or of a single one.
        above: the id above which its elements count.
        is_single: whether it is one.
        where: a field, and its value, of all elements; None where routing keys select them.
    """

    resource: Resource
    path: tuple[Any, ...]
    above: int = 0
    is_single: bool = False
    where: tuple[str, int] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options of the request."""
        key = self.resource.key
        return {"filters": {f"{key}__gt": self.above}} if self.above else {}


class BrokenPromiseError(Exception):
    """A violation was written down; this watcher begins anew."""


class Watcher:
    """Looks at one list after the other."""

    def __init__(self, source: Source, settings: Settings, records: Records, chance: random.Random) -> None:
        self._source = source
        self._settings = settings
        self._records = records
        self._chance = chance
        self._view: View
        self._trail: list[tuple[int, str, Any]] = []
        self._last = 0
        self._following: Following

    async def run(self) -> None:
        """Watch until the run ends."""
        while self._settings.phase != "end":
            try:
                await self._watch()
            except SinceTooOldError:
                self._records.count("too old")
            except UnreachableError as error:
                log.warn("{source}: {error}", source=self._source.name, error=error)
                self._records.count("unreachable")
                await sleep(0.2)
            except DBAPIError as error:
                log.warn("the database failed: {error}", error=error)
                await sleep(0.5)
            except BrokenPromiseError:
                await sleep(0.2)

    # one list

    async def _watch(self) -> None:
        self._view = await self._choose()
        rows, clock = await self._snapshot()
        replica = Replica(self._view.resource, rows, self._view.above)
        self._trail, self._last = [], clock
        self._following = await self._follow(clock)
        try:
            for _ in range(self._chance.randint(2, 6)):
                await sleep(self._chance.uniform(0.05, 1.0))
                if self._settings.phase == "end":
                    break
                if self._following.lost or self._chance.random() < 0.4:
                    await self._resume()
                clock = await self._compare(replica, clock)
        finally:
            self._following.stop()

    async def _choose(self) -> View:
        kind = self._chance.random()
        if kind < 0.4:
            place = await choose(self._source, self._chance)
            if place is not None:
                above = 0 if place.is_single else max(0, await self._newest_of(place.resource) - _NEWEST)
                return View(place.resource, place.path, above, place.is_single, place.where)
        if kind < 0.8:
            plural = self._chance.choice(_LISTS)
            resource = _BY_PLURAL[plural]
            newest = await self._newest(plural) if resource.growing else 0
            return View(resource, (plural,), max(0, newest - _NEWEST))
        outer, inner = self._chance.choice(_INNER)
        number = await self._newest("builds" if outer == "steps" else outer)
        number = max(1, number - self._chance.randint(0, 3))
        if outer == "steps":
            steps, _ = await self._source.snapshot(("builds", number, "steps"), {})
            number = self._chance.choice(steps)["stepid"] if steps else 1
        elif outer == "builders":
            number = self._chance.randint(1, 4)
        above = 0
        if inner in ("builds", "buildrequests"):
            above = max(0, await self._newest(inner) - _NEWEST)
        return View(_BY_PLURAL[inner], (outer, number, inner), above)

    async def _newest_of(self, resource: Resource) -> int:
        return await self._newest(resource.plural) if (resource.plural in _LISTS) else 0

    async def _newest(self, plural: str) -> int:
        key = _BY_PLURAL[plural].key
        rows, _ = await self._source.snapshot((plural,), {"fields": [key], "order": [f"-{key}"], "limit": 1})
        return int(rows[0][key]) if rows else 0

    async def _follow(self, since: int) -> Following:
        return await self._source.follow(self._view.path, since, self._hear, self._view.is_single)

    async def _snapshot(self) -> tuple[list[dict[str, Any]], int]:
        found = await self._source.snapshot(self._view.path, self._view.options)
        self._records.count("snapshots")
        return found

    def _hear(self, number: int, key: str, message: Any) -> None:
        self._records.count(f"events heard ({self._source.name})")
        if number <= self._last:
            self._violation("an event came twice or out of order", clock=number, key=key, after=self._last)
        self._last = max(self._last, number)
        self._trail.append((number, key, message))
        if self._chance.random() < 0.3:
            ensureDeferred(self._probe(number, key)).addErrback(lambda failure: log.warn("{f}", f=failure))

    async def _probe(self, number: int, key: str) -> None:
        """A client that got an event finds it committed."""
        clock = await self._source.clock()
        if clock is not None and clock < number:
            self._violation(
                "an event was heard before its transaction was committed", clock=clock, event=number, key=key
            )

    async def _resume(self) -> None:
        """Cut the connection, and go on from where it was."""
        since = self._following.clock
        self._following.stop()
        self._records.count("cuts")
        deadline = reactor.seconds() + _PATIENCE_S
        while True:
            if self._chance.random() < 0.7:
                await sleep(self._chance.uniform(0, 0.3))
            try:
                self._following = await self._follow(since)
                return
            except (UnreachableError, DBAPIError):
                if reactor.seconds() > deadline or self._settings.phase == "end":
                    raise  # at the end of the run the masters do not come back
                await sleep(0.1)

    async def _compare(self, replica: Replica, before: int) -> int:
        heard = self._last
        rows, clock = await self._snapshot()
        if clock < heard:
            self._violation("an event was heard before its transaction was committed", clock=heard, snapshot=clock)
            raise BrokenPromiseError
        await self._reach(clock)
        mark = next((i for i, (number, _, _) in enumerate(self._trail) if number > clock), len(self._trail))
        seen, self._trail = self._trail[:mark], self._trail[mark:]
        for _, key, message in seen:
            if isinstance(message, dict) and not key.endswith("/cancel"):
                replica.apply(message)
        path = "/".join(map(str, self._view.path))
        sums = [[number, checksum(key, message)] for number, key, message in seen]
        # where a field selects the events, each may have come by any of its keys
        heard_as = {"where": [self._view.resource.plural, *self._view.where]} if self._view.where else {}
        if self._view.where:
            self._records.count("subscriptions by other paths")
        self._records.write(
            "segment", path=path, since=before, until=clock, heard=sums, source=self._source.name, **heard_as
        )
        differences = replica.differences(rows)
        if differences:
            self._violation(
                "snapshot + events is not the later snapshot",
                since=before,
                clock=clock,
                above=self._view.above,
                differences=differences[:5],
                heard=[[number, key] for number, key, _ in seen][-20:],
            )
            raise BrokenPromiseError
        self._records.count("comparisons")
        return clock

    async def _reach(self, clock: int) -> None:
        deadline = reactor.seconds() + _PATIENCE_S
        stalled = reactor.seconds() + 3.0
        while self._following.clock < clock:
            if self._following.lost or (self._source.name != "python" and reactor.seconds() > stalled):
                await self._resume()  # its master was killed or is paused
                stalled = reactor.seconds() + 3.0
            if reactor.seconds() > deadline:
                self._violation("a subscription stands still", clock=clock, reached=self._following.clock)
                raise BrokenPromiseError
            await sleep(0.02)

    def _violation(self, what: str, **details: Any) -> None:
        path = "/".join(map(str, self._view.path))
        self._records.violation(
            what,
            noun=self._view.resource.name,
            path=path,
            source=self._source.name,
            seed=self._settings.seed,
            **details,
        )


async def watch_all(sources: Sequence[Source], settings: Settings, records: Records, chance: random.Random) -> None:
    """One watcher for each source, until the run ends."""
    watchers = [Watcher(source, settings, records, random.Random(chance.random())) for source in sources]
    await gatherResults([ensureDeferred(watcher.run()) for watcher in watchers])
