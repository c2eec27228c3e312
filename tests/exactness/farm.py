"""The farm: starts the processes of a run, makes faults by chance, lets everything settle, and asks the judge."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from buildbot.db.dialects import dialect_for
from buildbot.db.engine.query import Query, fetch
from buildbot.db.model import upgrade
from buildbot.resources import RESOURCES
from buildbot.resources.events import events
from buildbot.resources.sourcestamps import sourcestampset_changes
from tests.exactness.judge import Judge
from tests.exactness.parts import SCHEDULER
from tests.exactness.records import read_all
from tests.exactness.replica import is_announced
from tests.exactness.settings import OWN_WORKERS, Settings
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
#: how long masters may take to start, on a busy machine
_START_S = 180.0
#: how long the work that was begun may take to end, besides the expiry
_SETTLE_S = 60.0
#: nothing happens any more if there is no event for so long, where nothing is left to do and where something is
_QUIET_S = 3.0
_STUCK_S = 20.0


@dataclass
class Report:
    """The results of a run."""

    counts: Counter[str]
    violations: list[str]
    recoveries: list[float]
    seconds: float
    returns: list[float] = field(default_factory=list)
    oldest: float = 0.0

    def lines(self) -> list[str]:
        """For people."""
        found = [f"{name:28}{number:>10,}" for name, number in sorted(self.counts.items())]
        if self.recoveries:
            worst, mean = max(self.recoveries), sum(self.recoveries) / len(self.recoveries)
            found.append(f"{'recovery of a lost master':28}{mean:>9.1f}s mean, {worst:.1f}s at most")
        if self.returns:
            worst, mean = max(self.returns), sum(self.returns) / len(self.returns)
            found.append(f"{'a lost master builds again':28}{mean:>9.1f}s mean, {worst:.1f}s at most")
        found.append(f"{'caches are old for':28}{self.oldest:>9.1f}s at most")
        found.append(f"{'violations':28}{len(self.violations):>10,}")
        return found + [f"VIOLATION {text}" for text in self.violations[:50]]


class Process:
    """A process of the farm: a master or a watcher, which may be killed, paused and started again."""

    def __init__(self, module: str, name: str, settings: Settings) -> None:
        self.name = name
        self._module = module
        self._settings = settings
        self._errors = (settings.path / f"{name}.log").open("ab")
        self.paused = False
        #: it is down on purpose
        self.down = True
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it."""
        command = [sys.executable, "-m", f"tests.exactness.{self._module}", self.name, self._settings.as_text()]
        self._child = subprocess.Popen(command, cwd=ROOT, stderr=self._errors, stdout=self._errors)
        self.paused = self.down = False

    def kill(self) -> None:
        """Kill the process at once."""
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()
        self.down, self.paused = True, False

    def die_after_a_write(self, seconds: float) -> None:
        """Let the process end itself after its next acknowledged write; after a number of seconds kill it."""
        assert self._child is not None
        wish = self._settings.path / f"{self.name}.last"
        wish.touch()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        self.kill()
        wish.unlink()

    def pause(self) -> None:
        """Let it stand still."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP)
        self.paused = True

    def wake(self) -> None:
        """Let it go on."""
        assert self._child is not None
        self._child.send_signal(signal.SIGCONT)
        self.paused = False

    @property
    def life(self) -> int:
        """The process's id."""
        assert self._child is not None
        return self._child.pid

    @property
    def ended(self) -> int | None:
        """Its exit code, if it has ended by itself."""
        return None if self._child is None or self.down else self._child.poll()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None if it does not end in time."""
        assert self._child is not None
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """The end of its log."""
        return (self._settings.path / f"{self.name}.log").read_text(errors="replace")[-2000:]


@dataclass
class Faults:
    """The kinds of faults in a run, with their weights."""

    kill: int = 4
    pause: int = 3
    hiccup: int = 2
    watcher: int = 1
    database: int = 1
    #: seconds between two faults, on average
    every_s: float = 3.0


class Farm:
    """One run.

    Args:
        settings: of the run; its database is there and empty.
        masters, watchers: how many processes.
        faults: the kinds of faults, with their weights.
        server: the database server if it may be killed, else None.
    """

    def __init__(
        self, settings: Settings, masters: int = 3, watchers: int = 1, faults: Faults | None = None, server: Any = None
    ) -> None:
        self.judge = Judge(settings.seed)
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._server = server
        self._faults = faults or Faults()
        self._chance = random.Random(settings.seed)
        names = [f"master{number}" for number in range(masters)]
        settings.ports = {name: free_port() for name in names}
        self._agents: list[subprocess.Popen[bytes]] = []
        self._masters = [Process("actor", f"master{number}", settings) for number in range(masters)]
        self._watchers = [Process("watcher", f"watcher{number}", settings) for number in range(watchers)]
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._masterids: dict[str, int] = {}
        self._database_up = time.monotonic()
        self._dialect = dialect_for(settings.url)
        self._engine = self._dialect.create_engine()
        self._lock = threading.Lock()
        self._reading = True

    def run(self, seconds: float, until: tuple[str, ...] = ()) -> Report:
        """Run for so long, let everything settle, and judge; or end when a violation says one of ``until``."""
        begun = time.monotonic()
        upgrade(self._engine)
        for process in [*self._masters, *self._watchers]:
            process.start()
        reader = threading.Thread(target=self._read_log, daemon=True)
        reader.start()
        try:
            self._await_started()
            for name, port in self._settings.ports.items():
                self._start_agents(name, port)
            self._disturb(time.monotonic() + seconds, until)
            if not until:
                self._settle()
                self._settings.phase = "end"
                self._await_ends()
        finally:
            for process in [*self._masters, *self._watchers]:
                process.kill()
            for agents in self._agents:
                agents.kill()
                agents.communicate()
            self._reading = False
            reader.join()
        self._judge(settled=not until)
        self._engine.dispose()
        recoveries = [r.running for r in self.judge.recoveries if r.running is not None]
        returns = [each.building for each in self.judge.returns if each.building is not None]
        oldest = max([0.0, *self.judge.ages])
        return Report(self.counts, self.judge.violations, recoveries, time.monotonic() - begun, returns, oldest)

    def _start_agents(self, name: str, port: int) -> None:
        """The workers of a master, in a process that nothing happens to."""
        first = self._settings.first_worker(name)
        command = [sys.executable, "-m", "bench.actors.agents", f"--port={port}", f"--count={OWN_WORKERS}"]
        command += [f"--first={first}", f"--directory={self._settings.path / 'workers'}"]
        with (self._settings.path / f"{name}-agents.log").open("ab") as log:
            self._agents.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log))

    # the log, read beside the run

    def _read_log(self) -> None:
        while self._reading:
            begun = time.time()
            try:
                while self._read_some():
                    pass
                self._settings.read_at = begun
            except (DBAPIError, self._engine.dialect.loaded_dbapi.Error):  # SQLAlchemy passes on some of the driver's
                self._engine.dispose()
            time.sleep(0.1)

    def _read_some(self) -> bool:
        columns = (events.c.seq, events.c.routing_keys, events.c.body, events.c.masterid)
        statement = select(*columns).where(events.c.seq > self.judge.last).order_by(events.c.seq).limit(1000)
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT", reader=True) as conn:
            rows = conn.execute(statement).all()
        with self._lock:
            self.judge.read((row[0], row[1], row[2], row[3]) for row in rows)
        return len(rows) == 1000

    # faults

    def _await_started(self) -> None:
        deadline = time.monotonic() + _START_S
        while len(self._masterids) < len(self._masters):
            self._look_after()
            for record in read_all(self._settings.path):
                if record["kind"] == "started" and record["by"].startswith("master"):
                    self._masterids[record["by"]] = record["masterid"]
            if time.monotonic() > deadline:
                raise RuntimeError("the masters do not start:\n" + self._masters[0].last_words())
            time.sleep(0.1)

    def _said(self, phrases: tuple[str, ...]) -> bool:
        with self._lock:
            found = [text for text in self.judge.violations if any(phrase in text for phrase in phrases)]
        return bool(found) or any(
            b'"kind": "violation"' in line and any(phrase.encode() in line for phrase in phrases)
            for path in self._settings.path.glob("*.jsonl")
            for line in path.read_bytes().splitlines()
        )

    def _disturb(self, end: float, until: tuple[str, ...]) -> None:
        following = time.monotonic() + self._faults.every_s / 2
        while time.monotonic() < end and not (until and self._said(until)):
            self._look_after()
            if time.monotonic() > following:
                self._fault()
                following = time.monotonic() + self._chance.expovariate(1 / self._faults.every_s)
            time.sleep(0.02)

    def _look_after(self) -> None:
        """Do the faults that are due, and start processes again that ended because the database was down."""
        now = time.monotonic()
        for moment, action in [item for item in self._due if item[0] <= now]:
            self._due.remove((moment, action))
            action()
        for process in [*self._masters, *self._watchers]:
            if process.ended is not None:
                if self._server is None or now - self._database_up > 30:
                    self.judge.violation("a process ended", name=process.name, said=process.last_words())
                process.down = True
                process.start()

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + seconds, action))

    def _fault(self) -> None:
        faults, chance = self._faults, self._chance
        kinds = {
            self._kill_master: faults.kill,
            self._pause_master: faults.pause,
            self._hiccup: faults.hiccup,
            self._kill_watcher: faults.watcher,
            self._kill_database: faults.database if self._server is not None else 0,
        }
        chance.choices(list(kinds), list(kinds.values()))[0]()

    def _some_master(self) -> Process | None:
        # one master goes on, to declare the others dead
        up = [process for process in self._masters if not process.down and not process.paused]
        return self._chance.choice(up) if len(up) > 1 else None

    def _kill_master(self) -> None:
        process = self._some_master()
        if process is None:
            return
        if self._chance.random() < 0.5:
            process.die_after_a_write(2.0)
        else:
            process.kill()
        (self._settings.path / f"{process.name}.port").write_text("")
        self.counts["kills"] += 1
        self._lost(process)
        # sometimes it is back before other masters notice
        self._later(self._chance.uniform(0.1, 2.0 * self._settings.expiry_s), self._back(process, process.start))

    def _pause_master(self) -> None:
        self._stand_still(self._settings.expiry_s + self._chance.uniform(1.5, 4.0))
        self.counts["pauses beyond expiry"] += 1

    def _hiccup(self) -> None:
        self._stand_still(self._chance.uniform(0.1, self._settings.expiry_s))
        self.counts["short pauses"] += 1

    def _stand_still(self, seconds: float) -> None:
        process = self._some_master()
        if process is not None:
            process.pause()
            if seconds > self._settings.expiry_s:
                self._lost(process)
            beyond = seconds > self._settings.expiry_s
            self._later(seconds, self._back(process, process.wake) if beyond else process.wake)

    def _back(self, process: Process, action: Callable[[], None]) -> Callable[[], None]:
        """Let a lost master run again, and expect that it builds."""

        def back() -> None:
            action()
            with self._lock:
                self.judge.back(self._masterids[process.name])

        return back

    def _lost(self, process: Process) -> None:
        with self._lock:
            self.judge.lost(self._masterids[process.name])

    def _kill_watcher(self) -> None:
        up = [process for process in self._watchers if not process.down]
        if up:
            process = self._chance.choice(up)
            process.kill()
            self.counts["watcher kills"] += 1
            self._later(0.1, process.start)

    def _kill_database(self) -> None:
        self._server.restart()
        self._database_up = time.monotonic()
        self.judge.cuts.append(time.time())
        self.counts["database restarts"] += 1

    # the end

    def _settle(self) -> None:
        due, self._due = self._due, []
        for _, action in due:  # killed and paused processes come back now
            action()
        self._await_lives()
        deadline = time.monotonic() + self._limit
        while not self._all_build() and time.monotonic() < deadline:
            self._look_after()
            time.sleep(0.1)
        self._settings.phase = "settle"
        deadline = time.monotonic() + self._settings.expiry_s + _SETTLE_S
        quiet_since, seen = time.monotonic(), -1
        while time.monotonic() < min(deadline, quiet_since + (_QUIET_S if self._settled() else _STUCK_S)):
            self._look_after()
            if self.judge.events != seen or self._due:
                quiet_since, seen = time.monotonic(), self.judge.events
            time.sleep(0.1)

    def _await_lives(self) -> None:
        """Wait until processes that were started again are up: that takes long on a busy machine."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            self._look_after()
            up = {record["life"] for record in read_all(self._settings.path) if record["kind"] == "started"}
            if up >= {process.life for process in self._masters}:
                return
            time.sleep(0.1)

    def _all_build(self) -> bool:
        with self._lock:
            return all(each.interrupted or each.building is not None for each in self.judge.returns)

    def _settled(self) -> bool:
        with self._lock:
            return self.judge.settled

    def _await_ends(self) -> None:
        for process in [*self._masters, *self._watchers]:
            code = process.wait(60)
            if code != 0:
                said = process.last_words()
                self.judge.violation("a process did not end well", name=process.name, code=code, said=said)

    def _judge(self, settled: bool) -> None:
        while self._read_some():
            pass
        judge = self.judge
        if settled:
            judge.check_quiet()
            self._check_recoveries()
        for name, number in judge.check_records(read_all(self._settings.path)).items():
            self.counts[name] += number
        self._check_snapshots()
        self._check_scheduler()
        self.counts["events"] = judge.events
        self.counts["actions"] = self.counts.pop("updates", 0)

    def _check_recoveries(self) -> None:
        judge = self.judge
        for recovery in judge.recoveries:
            if recovery.held and (recovery.released is None or recovery.released > self._limit):
                judge.violation("claims of a lost master were not released in time", recovery=recovery)
            # requests that another lost master had taken over have to wait once more
            if recovery.alone and recovery.waiting | ({0} if (recovery.running or 0) > self._limit else set()):
                judge.violation("requests of a lost master were not taken up in time", recovery=recovery)

        # one that came back has its workers and a build soon, unless the run ended before
        for each in judge.returns:
            if not each.interrupted and (each.building is None or each.building > self._limit):
                judge.violation("a master that came back does not build", back=each)

    @property
    def _limit(self) -> float:
        return self._settings.expiry_s + self._settings.recovery_s

    def _check_snapshots(self) -> None:
        with self._engine.connect() as conn:
            for resource in RESOURCES:
                path = next((path for path in resource.paths if path.pattern == resource.plural), None)
                if is_announced(resource) and path is not None:
                    rows = fetch(conn, resource, path, {}, Query()).entities
                    self.judge.check_end(resource.plural, rows)

    def _check_scheduler(self) -> None:
        counted = select(sourcestampset_changes.c.changeid, func.count()).group_by(sourcestampset_changes.c.changeid)
        with self._engine.connect() as conn:
            doubled = [row[0] for row in conn.execute(counted.having(func.count() > 1))]
        if doubled:
            self.judge.violation(f"{SCHEDULER!r} built changes twice", changes=doubled[:10])


@contextmanager
def run_directory(keep: bool = False) -> Iterator[Path]:
    """Where a run's processes write."""
    if keep:
        yield Path(tempfile.mkdtemp(prefix="exactness-"))
        return
    with tempfile.TemporaryDirectory(prefix="exactness-") as name:
        yield Path(name)
