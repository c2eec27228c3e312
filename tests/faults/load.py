"""Clients that force builds all the time, and one that counts the builds that have succeeded."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import HTTPError

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.faults.farm import Farm, Master

#: how long a client waits for an answer
_PATIENCE_S = 30.0
#: clients of each master
_CLIENTS = 3
_COUNT = "SELECT masterid, count(*) FROM builds WHERE results = 0 AND complete_at IS NOT NULL GROUP BY masterid"


@dataclass
class Forces:
    """What became of the forces of a row.

    Attributes:
        answered: ids of the requests that were promised.
        unanswered: forces of which nobody knows whether they were taken.
        refused: those that were told to come again.
        wrong: what else was answered; all of them were right.
    """

    answered: list[int] = field(default_factory=list)
    unanswered: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


class Load:
    """Keeps the queue filled, and counts.

    Attributes:
        forces: of this row.
    """

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._lock = threading.Lock()
        self._running = True
        self._forcing = threading.Event()
        self._first = self.last_request()
        self._samples: list[tuple[float, dict[int, int]]] = []
        self._counted = threading.Event()
        self._waiting = 0
        self.forces = Forces()
        self.slowest_s = 0.0
        builders = farm.masters[0].get("builders")["builders"]
        self._builders = itertools.cycle([each["builderid"] for each in builders])
        clients = [(self._force, master) for master in farm.masters for _ in range(_CLIENTS)]
        self._threads = [threading.Thread(target=target, args=(master,), daemon=True) for target, master in clients]
        self._threads.append(threading.Thread(target=self._count, daemon=True))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count, and force until ``drain``."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._running = False
            self._forcing.set()
            for thread in self._threads:
                thread.join()

    def begin(self) -> None:
        """Begin a row: force."""
        with self._lock:
            self.forces, self._first = Forces(), self.last_request()
            self._samples.clear()
        self._forcing.set()

    @property
    def first(self) -> int:
        """The last request before this row."""
        return self._first

    def drain(self, seconds: float) -> None:
        """Force no more, and return when all that was asked for has ended, or nothing has for so many seconds."""
        self._forcing.clear()
        changed, before = time.monotonic(), -1
        while True:
            self._counted.clear()
            self._counted.wait()
            waiting, now = self._waiting, time.monotonic()
            if waiting != before:
                changed, before = now, waiting
            if not waiting or now - changed > seconds:
                return

    def last_request(self) -> int:
        """The newest request's id."""
        engine = self._farm.database.connect()
        with engine.connect() as conn:
            found = conn.execute(text("SELECT max(id) FROM buildrequests")).scalar_one()
        engine.dispose()
        return int(found or 0)

    # the clients

    def _force(self, master: Master) -> None:
        most = 2 * len(self._farm.masters) * self._farm.settings.workers
        while self._running:
            self._forcing.wait()
            if self._waiting >= most or not self._running:
                time.sleep(0.05)
                continue
            with self._lock:
                builderid, forces = next(self._builders), self.forces
                self._waiting += 1  # until it is counted
            begun = time.monotonic()
            try:
                brid = master.force(builderid, _PATIENCE_S)
            except HTTPError as error:
                said = f"{error.code} {error.read().decode(errors='replace')[:300]}"
                with self._lock:
                    if error.code == 503:
                        forces.refused += 1
                    else:
                        forces.wrong.append(said)
                time.sleep(0.3)
            except (OSError, HTTPException, ValueError) as error:
                with self._lock:
                    if isinstance(getattr(error, "reason", None), ConnectionRefusedError):
                        forces.refused += 1  # nobody is there
                    else:  # cut off, or silent
                        forces.unanswered += 1
                time.sleep(0.3)
            else:
                with self._lock:
                    forces.answered.append(brid)
                    self.slowest_s = max(self.slowest_s, time.monotonic() - begun)

    # counting

    def _count(self) -> None:
        engine = self._farm.database.connect()
        waiting = "SELECT count(*) FROM buildrequests WHERE complete = 0 AND id > "
        while self._running:
            try:
                with engine.connect() as conn:
                    while self._running:
                        counts = {row[0]: row[1] for row in conn.execute(text(_COUNT))}
                        found = conn.execute(text(f"{waiting}{self._first}")).scalar_one()
                        with self._lock:
                            self._waiting = int(found)
                            self._samples.append((time.monotonic(), counts))
                        self._counted.set()
                        time.sleep(0.2)
            except DBAPIError:  # it is away, as it is meant to be
                self._counted.set()
                time.sleep(0.2)
        engine.dispose()

    def ended(self, begin: float, end: float, masterid: int | None = None) -> int:
        """How many builds (of a master) succeeded between two moments."""
        return self._until(end, masterid) - self._until(begin, masterid)

    def _until(self, moment: float, masterid: int | None) -> int:
        with self._lock:
            known = [counts for when, counts in self._samples if when <= moment] or [self._samples[0][1]]
        return sum(known[-1].values()) if masterid is None else known[-1].get(masterid, 0)

    def longest_pause(self, begin: float, end: float) -> float:
        """The longest time between two moments in which no build succeeded."""
        with self._lock:
            samples = [(when, sum(counts.values())) for when, counts in self._samples if when <= end]
        last, number, longest = begin, -1, 0.0
        for when, count in samples:
            if count != number:
                number = count
                longest, last = max(longest, when - max(last, begin)), when
        return max(longest, end - max(last, begin))
