"""The judge: reads the whole log in order, follows its history, and reports contradictions.

The rules for the log:

- numbers follow each other without a gap;
- a request has one owner at a time; only the owner builds and completes it, unless the owner was declared dead or
  somebody cancelled it; what is complete or finished stays so, and has a result;
- a scheduler's buildsets and a change source's changes are written by the master that runs it at that point;
- a master that stopped leaves nothing claimed, no unfinished build, no part; one that is back builds again.

And the processes' records to the log: what they heard is what it holds, no more and no less; what was acknowledged is
there, once; what one wrote is soon in the others' caches. At the end, every noun's snapshot is what the events from the
first on make of nothing.
"""

from __future__ import annotations

import bisect
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from buildbot.mq.match import Pattern, matches
from buildbot.resources import RESOURCES
from buildbot.util.results import CANCELLED, RETRY
from tests.exactness.parts import SCHEDULER, SOURCE
from tests.exactness.paths import FIELDS
from tests.exactness.replica import Replica, checksum, is_announced
from tests.exactness.settings import OWN

#: a row of the log: number, keys, body, the master that wrote it
LogRow = tuple[int, str, str, int]

_SHOWN = 20
#: writes of other masters are in each cache after a second; the other second is for a busy machine
OLD_S = 1.0 + 1.0


def _about(key: str, message: Any) -> tuple[str, dict[str, Any]]:
    """The noun whose event it is, and the ids in its message."""
    parts = key.split("/")
    if len(parts) != 3 or not isinstance(message, dict):
        return "", {}
    return parts[0], {name: message[name] for name in FIELDS if name in message}


@dataclass
class Request:
    """The state of a build request by the log."""

    owner: int | None = None
    complete: bool = False
    #: only one master can build it
    own: bool = False


@dataclass
class Thing:
    """A build, step or log: its parent, the master that runs it, whether it has ended."""

    parent: int
    owner: int = 0
    ended: bool = False


@dataclass
class Recovery:
    """Requests that a master held when it was killed or paused."""

    masterid: int
    since: float
    held: frozenset[int]
    waiting: set[int]
    #: no other master was lost before its requests ran again
    alone: bool = True
    released: float | None = None
    running: float | None = None


@dataclass
class Return:
    """A master that was lost and is back."""

    masterid: int
    since: float
    #: lost again before it built
    interrupted: bool = False
    building: float | None = None


@dataclass
class Judge:
    """Follows the log; ``violations`` are sentences with all details."""

    seed: int = 0
    violations: list[str] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    last: int = 0
    events: int = 0
    numbers: list[int] = field(default_factory=list)
    sums: list[list[tuple[str, int]]] = field(default_factory=list)
    #: of each event: the noun, and the ids in its message that watchers follow
    about: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    #: when the database was away
    cuts: list[float] = field(default_factory=list)
    #: for how long others' writes were not in a cache, in seconds; less than nothing if they were there at once
    ages: list[float] = field(default_factory=list)
    announced: Counter[tuple[str, str]] = field(default_factory=Counter)
    requests: dict[int, Request] = field(default_factory=dict)
    builds: dict[int, Thing] = field(default_factory=dict)
    steps: dict[int, Thing] = field(default_factory=dict)
    logs: dict[int, Thing] = field(default_factory=dict)
    running: dict[int, bool] = field(default_factory=dict)
    runs: dict[str, dict[int, int | None]] = field(default_factory=lambda: {"schedulers": {}, "changesources": {}})
    names: dict[str, dict[str, int]] = field(default_factory=lambda: {"schedulers": {}, "changesources": {}})
    #: requests of a buildset that are not complete, builds of a request that have not ended
    waiting: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    under_way: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    replicas: dict[str, Replica] = field(
        default_factory=lambda: {noun.plural: Replica(noun, ()) for noun in RESOURCES if is_announced(noun)}
    )

    def violation(self, what: str, **details: Any) -> None:
        """Note that a promise was broken."""
        shown = " ".join(f"{name}={value!r}" for name, value in details.items())
        self.violations.append(f"{what}: {shown} (seed {self.seed})")

    # the log

    def read(self, rows: Iterable[LogRow]) -> None:
        """Follow further rows of the log."""
        for number, keys, body, writer in rows:
            if number != self.last + 1:
                self.violation("numbers are missing in the log, or came late", after=self.last, found=number)
            self.last = max(self.last, number)
            if not keys:
                continue
            self.events += 1
            message = json.loads(body)
            split = keys.split("\n")
            self.numbers.append(number)
            self.sums.append([(key, checksum(key, message)) for key in split])
            self.about.append(_about(split[0], message))
            self._follow(number, split[0], message, writer)

    def _follow(self, number: int, key: str, message: Any, writer: int) -> None:
        parts = key.split("/")
        noun, event = parts[0], parts[-1]
        if noun == "exactness":
            self.announced["message", message] += 1
        replica = self.replicas.get(noun)
        if replica is None or len(parts) != 3:
            return
        if event != "cancel":
            replica.apply(message)
        follow = getattr(self, f"_{noun}", None)
        if follow is not None:
            follow(number, event, message, writer)

    def _changes(self, number: int, event: str, message: Any, writer: int) -> None:
        revision = str(message["revision"])
        self.announced["change", revision] += 1
        if revision.startswith(f"{SOURCE}-"):
            self._by_its_master("changesources", SOURCE, number, writer)

    def _by_its_master(self, plural: str, name: str, number: int, writer: int) -> None:
        identifier = self.names[plural].get(name)
        runs = None if identifier is None else self.runs[plural].get(identifier)
        if runs != writer:
            self.violation(
                f"{plural}: {name!r} worked in a master that does not run it", clock=number, writer=writer, runs=runs
            )

    def _schedulers(self, number: int, event: str, message: Any, writer: int) -> None:
        self._part("schedulers", message["schedulerid"], message)

    def _changesources(self, number: int, event: str, message: Any, writer: int) -> None:
        self._part("changesources", message["changesourceid"], message)

    def _part(self, plural: str, identifier: int, message: Any) -> None:
        self.names[plural][message["name"]] = identifier
        self.runs[plural][identifier] = message["master"]["masterid"] if message["master"] else None

    def _buildsets(self, number: int, event: str, message: Any, writer: int) -> None:
        if event == "new":
            self.announced["buildset", str(message["external_idstring"])] += 1
            if message["scheduler"] == SCHEDULER:
                self._by_its_master("schedulers", SCHEDULER, number, writer)
        elif event == "complete":
            self.announced["buildset complete", str(message["bsid"])] += 1
            if self.announced["buildset complete", str(message["bsid"])] > 1 or message["results"] in (None, -1):
                self.violation("a buildset was completed twice or without a result", clock=number, bsid=message["bsid"])
            if self.waiting[message["bsid"]]:
                self.violation("a buildset completed before its requests", clock=number, bsid=message["bsid"])

    def _buildrequests(self, number: int, event: str, message: Any, writer: int) -> None:
        brid = message["buildrequestid"]
        if event == "cancel":
            return
        request = self.requests.setdefault(brid, Request())
        claimed_by = message["claimed_by_masterid"]
        if event == "new":
            self.waiting[message["buildsetid"]].add(brid)
            request.own = self._is_own(message["builderid"])
        elif event == "claimed":
            if request.owner is not None or request.complete:
                self.violation("claimed by two", clock=number, request=brid, first=request.owner, second=claimed_by)
            if claimed_by != writer or not self.running.get(writer):
                self.violation("claimed by a master that does not run", clock=number, request=brid, writer=writer)
            request.owner = claimed_by
        elif event == "unclaimed":
            if request.owner is None or request.complete:
                self.violation("released what nobody had", clock=number, request=brid, writer=writer)
            request.owner = None
            self._let_go(brid)
        elif event == "complete":
            self.announced["completion", str(brid)] += 1
            results = message["results"]
            if request.complete or results in (None, -1):
                self.violation("completed twice or without a result", clock=number, request=brid, results=results)
            if request.owner != writer and results != CANCELLED:
                self.violation(
                    "completed by another master", clock=number, request=brid, owner=request.owner, writer=writer
                )
            request.complete, request.owner = True, None
            self.waiting[message["buildsetid"]].discard(brid)
            self._let_go(brid)
            self._runs_again(brid)
        elif event == "update" and request.owner != claimed_by and not request.complete:
            self.violation(
                "an update changed the owner", clock=number, request=brid, owner=request.owner, now=claimed_by
            )

    def _builds(self, number: int, event: str, message: Any, writer: int) -> None:
        buildid, brid = message["buildid"], message["buildrequestid"]
        if event == "new":
            others = sorted(self.under_way[brid])
            if others:
                self.violation(
                    "a request is built twice at a time", clock=number, request=brid, builds=[*others, buildid]
                )
            self.under_way[brid].add(buildid)
            self.builds[buildid] = Thing(brid, writer)
            self._must_own(number, "build", buildid, brid, writer)
            self._runs_again(brid)
            self._builds_again(writer, message["builderid"])
            return
        build = self.builds.get(buildid)
        if build is None or build.ended:
            self.violation(
                f"{event} of a build that has ended, or never began", clock=number, build=buildid, writer=writer
            )
            return
        if event == "finished":
            build.ended = True
            self.under_way[brid].discard(buildid)
            if message["results"] is None:
                self.violation("a build finished without a result", clock=number, build=buildid)
            if writer != build.owner and message["results"] not in (RETRY, CANCELLED):
                self.violation("a build was finished by another master", clock=number, build=buildid, writer=writer)
        else:
            self._must_own(number, "build", buildid, brid, writer)

    def _must_own(self, number: int, noun: str, identifier: int, brid: int, writer: int) -> None:
        owner = self.requests[brid].owner if brid in self.requests else None
        if owner != writer:
            self.violation(
                f"a {noun} was written to without the claim", clock=number, id=identifier, owner=owner, writer=writer
            )

    def _steps(self, number: int, event: str, message: Any, writer: int) -> None:
        self._inner(number, "step", self.steps, message["stepid"], event, message["buildid"], writer, self.builds)

    def _logs(self, number: int, event: str, message: Any, writer: int) -> None:
        self._inner(number, "log", self.logs, message["logid"], event, message["stepid"], writer, self.steps)

    def _inner(
        self, number: int, noun: str, things: dict[int, Thing], identifier: int, event: str, parent: int, writer: int,
        parents: dict[int, Thing],
    ) -> None:  # fmt: skip
        if event == "new":
            things[identifier] = Thing(parent, writer)
        thing, above = things.get(identifier), parents.get(parent)
        if thing is None or thing.ended or above is None or above.ended:
            self.violation(f"{event} of a {noun} that has ended", clock=number, id=identifier, writer=writer)
            return
        if event == "finished":
            thing.ended = True
        elif writer != thing.owner or writer != above.owner:
            self.violation(f"a {noun} was written to by another master", clock=number, id=identifier, writer=writer)

    def _masters(self, number: int, event: str, message: Any, writer: int) -> None:
        masterid = message["masterid"]
        self.running[masterid] = bool(message["active"])
        if event not in ("started", "stopped"):
            return
        for each in self.returns:
            if event == "started" and each.masterid == masterid and each.building is None:
                each.since = time.monotonic()  # until now its process was starting
        held = [brid for brid, request in self.requests.items() if request.owner == masterid and not request.complete]
        unfinished = [buildid for buildid, build in self.builds.items() if build.owner == masterid and not build.ended]
        parts = [] if event == "started" else [
            (plural, n) for plural, all_ in self.runs.items() for n, runs in all_.items() if runs == masterid
        ]  # fmt: skip
        if held or unfinished or parts:
            self.violation(
                f"a master {event} and left something behind", clock=number, master=masterid,
                requests=held[:_SHOWN], builds=unfinished[:_SHOWN], parts=parts,
            )  # fmt: skip

    # recovery

    def lost(self, masterid: int) -> None:
        """A master was killed, or paused beyond its expiry: its claims must go to other masters."""
        for each in self.returns:
            each.interrupted = each.interrupted or each.masterid == masterid
        held = {brid for brid, request in self.requests.items() if request.owner == masterid and not request.own}
        for recovery in self.recoveries:
            recovery.alone = recovery.alone and not recovery.waiting
        alone = all(not recovery.waiting for recovery in self.recoveries)
        self.recoveries.append(Recovery(masterid, time.monotonic(), frozenset(held), held, alone))

    def back(self, masterid: int) -> None:
        """A lost master runs again: its own workers must come back to it and build."""
        self.returns.append(Return(masterid, time.monotonic()))

    def _builds_again(self, masterid: int, builderid: int) -> None:
        if self._is_own(builderid):
            for each in self.returns:
                if each.masterid == masterid and each.building is None and not each.interrupted:
                    each.building = time.monotonic() - each.since

    def _is_own(self, builderid: int) -> bool:
        return str(self.replicas["builders"].rows.get(builderid, {}).get("name")).startswith(OWN)

    def _let_go(self, brid: int) -> None:
        for recovery in self.recoveries:
            if recovery.running is None and recovery.released is None and brid in recovery.waiting:
                recovery.released = time.monotonic() - recovery.since

    def _runs_again(self, brid: int) -> None:
        for recovery in self.recoveries:
            if recovery.running is None and brid in recovery.waiting and recovery.released is not None:
                recovery.waiting.discard(brid)
                if not recovery.waiting:
                    recovery.running = time.monotonic() - recovery.since

    # the records, and the end

    def check_records(self, records: Iterable[dict[str, Any]]) -> Counter[str]:
        """Compare the records of the processes with the log; gives the sums of their counters."""
        sums: Counter[str] = Counter()
        consumed: dict[str, list[tuple[int, int]]] = defaultdict(list)
        seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for record in records:
            kind = record["kind"]
            if kind == "counts":
                sums.update(record["counts"])
            elif kind == "violation":
                self.violation(record.pop("what"), **{n: v for n, v in record.items() if n != "kind"})
            elif kind == "segment":
                self._check_segment(record)
            elif kind == "ack":
                sums["acknowledged"] += 1
                found = self.announced[record["noun"], str(record["name"])]
                if found != 1:
                    self.violation("acknowledged, and not in the log once", found=found, **record)
            elif kind in ("wrote", "saw"):
                seen[record["name"]].append(record)
            elif kind == "consumed":
                consumed[record["consumer"]].append((record["life"], record["number"]))
        for name, heard in consumed.items():
            self._check_consumer(name, heard)
        for records_of_one in seen.values():
            self._check_caches(records_of_one, sums)
        return sums

    def _check_caches(self, records: list[dict[str, Any]], sums: Counter[str]) -> None:
        """Compare a master's writes with the times at which the others, which look all the time, saw them."""
        saw = defaultdict(list)
        for record in records:
            if record["kind"] == "saw":
                saw[record["by"]].append(record)
        for write in (record for record in records if record["kind"] == "wrote"):
            sums["last writes of killed masters"] += write["last"]
            for by, looks in saw.items():
                first = next((look for look in looks if look["number"] >= write["number"]), None)
                at = write["at"]
                if first is None or first["steady"] > at or any(at - 2 < t < first["before"] for t in self.cuts):
                    continue
                self.ages.append(first["before"] - at)
                if self.ages[-1] > OLD_S:
                    self.violation(
                        "a cache was old for too long", by=by, wrote=write, saw=first, seconds=round(self.ages[-1], 1)
                    )

    def _check_segment(self, record: dict[str, Any]) -> None:
        if "where" in record:
            self._check_numbers(record)
            return
        pattern: Pattern = (*record["path"].split("/"), None, None)
        first = bisect.bisect_right(self.numbers, record["since"])
        until = bisect.bisect_right(self.numbers, record["until"])
        expected = [
            [self.numbers[i], total]
            for i in range(first, until)
            for key, total in self.sums[i]
            if matches(pattern, tuple(key.split("/")))
        ]
        if expected != record["heard"]:
            missing = [number for number, _ in expected if number not in {n for n, _ in record["heard"]}]
            self._not_heard(record, missing, [pair for pair in record["heard"] if pair not in expected])

    def _check_numbers(self, record: dict[str, Any]) -> None:
        """A subscription by a path that routing keys do not have: its events are found by fields of messages."""
        noun, name, value = record["where"]
        first = bisect.bisect_right(self.numbers, record["since"])
        until = bisect.bisect_right(self.numbers, record["until"])
        expected = [
            self.numbers[i]
            for i in range(first, until)
            if self.about[i][0] == noun and self.about[i][1].get(name) == value
        ]
        heard = [number for number, _ in record["heard"]]
        if expected != heard:
            missing = [number for number in expected if number not in set(heard)]
            self._not_heard(record, missing, [number for number in heard if number not in set(expected)])

    def _not_heard(self, record: dict[str, Any], missing: list[int], invented: list[Any]) -> None:
        self.violation(
            "what was heard is not what the log holds",
            **{name: record[name] for name in ("by", "source", "path", "since", "until")},
            missing=missing[:_SHOWN],
            invented=invented[:_SHOWN],
        )

    def _check_consumer(self, name: str, heard: Sequence[tuple[int, int]]) -> None:
        """A persistent consumer gets all events from its beginning on; after a kill it may get the last few again."""
        lives: dict[int, list[int]] = defaultdict(list)
        for life, number in heard:
            if lives[life] and number <= lives[life][-1]:
                self.violation("a persistent consumer heard an event twice in one life", by=name, clock=number)
            lives[life].append(number)
        numbers = sorted({number for _, number in heard})
        pattern: Pattern = ("buildsets", None, None)
        expected = [
            n
            for n, keys in zip(self.numbers, self.sums, strict=True)
            if numbers[0] <= n <= numbers[-1] and any(matches(pattern, tuple(key.split("/"))) for key, _ in keys)
        ]
        if numbers != expected:
            missing = sorted(set(expected) - set(numbers))
            self.violation("a persistent consumer missed events", by=name, missing=missing[:_SHOWN])

    def check_end(self, noun: str, rows: Iterable[dict[str, Any]]) -> None:
        """Compare the last snapshot of a noun with the one that all events together give."""
        for difference in self.replicas[noun].differences(rows)[:_SHOWN]:
            self.violation("the events from the first on are not the last snapshot", difference=difference)

    @property
    def settled(self) -> bool:
        """Whether everything that was begun has come to an end."""
        return all(request.complete for request in self.requests.values()) and all(
            build.ended for build in self.builds.values()
        )

    def check_quiet(self) -> None:
        """Everything that was begun has come to an end."""
        stuck = [n for n, request in self.requests.items() if not request.complete]
        if stuck:
            self.violation(
                "requests are stuck", requests=stuck[:_SHOWN], owners=[self.requests[n].owner for n in stuck]
            )
        unfinished = [n for n, build in self.builds.items() if not build.ended]
        if unfinished:
            self.violation("builds are stuck", builds=unfinished[:_SHOWN])
        counted = sorted(
            int(name.partition("-")[2])
            for (noun, name) in self.announced
            if noun == "change" and name.startswith(f"{SOURCE}-")
        )
        doubled = [
            name
            for (noun, name), n in self.announced.items()
            if noun in ("change", "buildset") and n > 1 and name != "None"
        ]
        if counted != list(range(1, len(counted) + 1)) or doubled:
            self.violation(
                "work of a part was lost or doubled", numbers=len(counted), last=counted[-1:], doubled=doubled[:_SHOWN]
            )
