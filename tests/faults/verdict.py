"""What is left of a row when all is quiet: nothing lost, doubled, stuck or open, no build an EXCEPTION, all logs whole.

Read from the database by SQL of its own, and logs as clients read them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import text

from buildbot.util.results import EXCEPTION, RETRY, SUCCESS, statusToString
from tests.faults.farm import Farm
from tests.faults.load import Load

_SHOWN = 5


class Verdict:
    """Looks at the requests after one, and at their builds.

    Attributes:
        faults: sentences; none if all is well.
        counts: of builds by result, and of logs compared.
    """

    def __init__(self, farm: Farm, load: Load) -> None:
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._farm = farm
        self._engine = farm.database.connect()
        self._first = load.first
        self._forces = load.forces
        self._look()
        self._engine.dispose()

    def _look(self) -> None:
        requests = self._rows("SELECT id, complete, results FROM buildrequests WHERE id > :first")
        builds = self._rows(
            "SELECT id, buildrequestid, results, complete_at, masterid FROM builds WHERE buildrequestid > :first"
        )
        self._look_at_requests(requests)
        self._look_at_builds(requests, builds)
        self._look_at_what_is_open()
        self._look_at_logs()

    def _look_at_requests(self, requests: Sequence[Any]) -> None:
        forces, there = self._forces, {row.id for row in requests}
        self._say("lost: requests of answered forces", set(forces.answered) - there)
        self._say("doubled: requests that answer two forces", [n for n, k in Counter(forces.answered).items() if k > 1])
        more = len(there - set(forces.answered)) - forces.unanswered
        if more > 0:
            self.faults.append(f"doubled: {more} requests more than forces that may have been taken")
        self._say("stuck: requests", [row.id for row in requests if not row.complete])
        others = [row for row in requests if row.complete and row.results != SUCCESS]
        self._say("requests did not succeed", [f"{row.id} ({statusToString(row.results)})" for row in others])
        self._say("forces were refused as wrong", forces.wrong)

    def _look_at_builds(self, requests: Sequence[Any], builds: Sequence[Any]) -> None:
        of_request = defaultdict(list)
        for build in builds:
            self.counts["running" if build.results is None else statusToString(build.results)] += 1
            of_request[build.buildrequestid].append(build)
        done = [row.id for row in requests if row.complete]
        counted = {brid: sum(build.results != RETRY for build in of_request[brid]) for brid in done}
        doubled = [brid for brid, number in counted.items() if number > 1]
        self._say("doubled: requests with several builds", [_history(brid, of_request[brid]) for brid in doubled])
        self._say("requests ended without a build", [brid for brid, number in counted.items() if not number])
        self._say("builds ended as EXCEPTION", [build.id for build in builds if build.results == EXCEPTION])
        self._say("builds have not ended", [build.id for build in builds if build.complete_at is None])
        self._say("builds have an end and no result", [b.id for b in builds if b.complete_at and b.results is None])

    def _look_at_what_is_open(self) -> None:
        ended = "JOIN builds b ON b.id = s.buildid WHERE b.complete_at IS NOT NULL AND b.buildrequestid > :first"
        steps = self._rows(f"SELECT s.id FROM steps s {ended} AND s.complete_at IS NULL")
        self._say("left open: steps of builds that have ended", [row.id for row in steps])
        logs = self._rows(f"SELECT l.id FROM logs l JOIN steps s ON s.id = l.stepid {ended} AND l.complete = 0")
        self._say("left open: logs of builds that have ended", [row.id for row in logs])
        sets = self._rows(
            "SELECT s.id FROM buildsets s JOIN buildrequests r ON r.buildsetid = s.id "
            "WHERE r.id > :first AND r.complete = 1 AND s.complete = 0"
        )
        self._say("left open: buildsets whose requests are complete", [row.id for row in sets])

    def _look_at_logs(self) -> None:
        """What every step of the builds that succeeded printed."""
        settings = self._farm.settings
        rows = self._rows(
            "SELECT l.id FROM logs l JOIN steps s ON s.id = l.stepid JOIN builds b ON b.id = s.buildid "
            "WHERE b.results = 0 AND b.buildrequestid > :first AND l.slug = 'stdio'"
        )
        wanted = settings.steps * self.counts[statusToString(SUCCESS)]
        if len(rows) != wanted:
            self.faults.append(f"lost: {len(rows)} logs of steps that succeeded, and there were {wanted} such steps")
        printed = [f"o{number:08d} ".ljust(settings.width + 1, "x") for number in range(settings.lines)]
        master = self._farm.masters[-1]

        def differs(logid: int) -> bool:
            (chunk,) = master.get(f"logs/{logid}/contents")["logchunks"]
            return [line for line in chunk["content"].split("\n") if line[:1] == "o"] != printed

        with ThreadPoolExecutor(4) as pool:
            differing = list(pool.map(differs, [row.id for row in rows]))
        self.counts["logs"] = len(rows)
        self._say(
            "logs are not what was printed", [row.id for row, is_so in zip(rows, differing, strict=True) if is_so]
        )

    def _rows(self, statement: str) -> Sequence[Any]:
        with self._engine.connect() as conn:
            return conn.execute(text(statement), {"first": self._first}).all()

    def _say(self, what: str, found: Any) -> None:
        shown = sorted(found, key=str)
        if shown:
            some = ", ".join(map(str, shown[:_SHOWN]))
            self.faults.append(f"{what}: {len(shown)}, {some}{', …' if len(shown) > _SHOWN else ''}")


def _history(brid: int, builds: Sequence[Any]) -> str:
    told = [f"build {build.id} by master {build.masterid}: {statusToString(build.results)}" for build in builds]
    return f"{brid} ({'; '.join(told)})"
