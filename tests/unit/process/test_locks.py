"""Locks: the first claim is served first, all locks of a claim are held or none, and an ended build holds none."""

from __future__ import annotations

from typing import Any

import pytest

import buildbot.locks
from buildbot.config.errors import ConfigErrors
from buildbot.config.locks import LockAccess, MasterLock, WorkerLock
from buildbot.config.master import MasterConfig
from buildbot.plugins import steps, util, worker
from buildbot.process.buildsequence import LOCKS
from buildbot.process.buildstep import BuildStep
from buildbot.process.locks import Claim, ImpossibleError, Locks
from buildbot.process.properties import Properties, Property, renderer
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.test.running import until
from buildbot.test.steps import StepHarness
from buildbot.util.deferreds import resolved
from buildbot.util.results import CANCELLED, EXCEPTION, RETRY, SUCCESS
from tests.support.events import next_turn
from tests.unit.process.test_distributor import Builder, Farm, Workers


class Queue:
    """Locks, and the order in which they were granted."""

    def __init__(self) -> None:
        self.locks = Locks()
        self.granted: list[str] = []

    def ask(self, owner: str, *accesses: LockAccess, worker: str = "w") -> Claim:
        claim = self.locks.claim(owner, self.locks.of(accesses, worker), lambda it: self.granted.append(it.owner))
        if claim.granted:
            self.granted.append(owner)
        return claim


def test_first_come_first_served() -> None:
    """Counting accesses share, an exclusive one is alone, and no claim overtakes an earlier one."""
    queue, lock = Queue(), MasterLock("m", maxCount=2)
    counting, exclusive = lock.access("counting"), lock.access("exclusive")
    one, two = queue.ask("1", counting), queue.ask("2", counting)
    three = queue.ask("3", exclusive)
    four = queue.ask("4", counting)
    assert queue.granted == ["1", "2"]
    one.release()
    five = queue.ask("5", counting)
    assert queue.granted == ["1", "2"]  # there is room, but 3 asked before
    two.release()
    assert queue.granted == ["1", "2", "3"]
    three.release()
    assert queue.granted == ["1", "2", "3", "4", "5"]
    four.release()
    five.release()
    assert list(queue.locks) == []


def test_counts() -> None:
    """An access takes as much as it counts; 0 takes nothing and never waits."""
    queue, lock = Queue(), MasterLock("m", maxCount=3)
    two = queue.ask("two", lock.access("counting", 2))
    more = queue.ask("more", lock.access("counting", 2))
    one = queue.ask("one", lock.access("counting", 1))
    nothing = queue.ask("nothing", lock.access("counting", 0))
    assert queue.granted == ["two", "nothing"] and not one.granted and nothing.granted
    two.release()
    assert queue.granted == ["two", "nothing", "more", "one"] and more.granted


def test_all_or_none() -> None:
    """A build that waits for one of several locks holds none of them, and gets all in its turn."""
    queue, a, b = Queue(), MasterLock("a"), MasterLock("b")
    first = queue.ask("a", a.access("exclusive"))
    both = queue.ask("both", a.access("exclusive"), b.access("exclusive"))
    after = queue.ask("b", b.access("exclusive"))
    other_way = queue.ask("other way", b.access("exclusive"), a.access("exclusive"))
    assert queue.granted == ["a"]
    assert both.waits_for == "a, held by a"
    assert after.waits_for == "b, for which others wait"
    first.release()
    assert queue.granted == ["a", "both"]
    both.release()
    assert queue.granted == ["a", "both", "b"]
    after.release()
    assert queue.granted == ["a", "both", "b", "other way"] and other_way.granted


def test_a_waiter_that_gives_up_is_passed() -> None:
    """One that waits and gives up makes room for those behind it."""
    queue, lock = Queue(), MasterLock("m", maxCount=2)
    queue.ask("1", lock.access("counting"))
    impatient = queue.ask("2", lock.access("exclusive"))
    queue.ask("3", lock.access("counting"))
    impatient.release()
    impatient.release()
    assert queue.granted == ["1", "3"]


def test_worker_locks() -> None:
    """Each worker has its own, as many of them as the lock says for it."""
    queue, lock = Queue(), WorkerLock("w", maxCount=1, maxCountForWorker={"big": 2, "none": 0})
    for name in ("small", "small", "other", "big", "big"):
        queue.ask(name, lock.access("counting"), worker=name)
    assert queue.granted == ["small", "other", "big", "big"]
    with pytest.raises(ImpossibleError, match="WorkerLock 'w' has 0 on worker 'none', less than 1"):
        queue.ask("none", lock.access("counting"), worker="none")


def test_a_new_count() -> None:
    """A lock whose count a new configuration raises is served at the next look."""
    queue = Queue()
    queue.ask("1", MasterLock("m").access("counting"))
    queue.ask("2", MasterLock("m").access("counting"))
    queue.ask("3", MasterLock("m", 3).access("counting"))
    assert queue.granted == ["1", "2", "3"]


def test_a_thousand_waiters_cost_no_more_than_one() -> None:
    """A release looks at the next waiter only."""
    queue, lock = Queue(), MasterLock("m")
    claims = [queue.ask(str(number), lock.access("exclusive")) for number in range(1001)]
    for claim in claims:
        before = queue.locks.looked_at
        claim.release()
        assert queue.locks.looked_at - before <= 2
    assert queue.granted == [str(number) for number in range(1001)]


# steps


class Held(BuildStep):
    """Holds its locks until it is let go."""

    name = "held"

    def __init__(self, gate: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate = gate

    async def run(self) -> int:
        outcome: Any = await resolved(self.gate() if self.gate else SUCCESS)
        if isinstance(outcome, Exception):
            raise outcome
        return int(outcome)


LOCK = MasterLock("database")


async def test_a_step_waits() -> None:
    """Its row says so, and for whom; then when it has its locks; the build, how long it waited."""
    farm = StepHarness(Held(locks=[LOCK.access("exclusive")]))
    other = farm.builder.locks.claim("linux #7 deploy", farm.builder.locks.of([LOCK.access("counting")], "w"), print)
    await farm.start()
    buildid = await farm.build()

    async def waits() -> bool:
        return bool(farm.master.steps(buildid)[-1]["state_string"].startswith("waiting"))

    await until(waits)
    step = farm.master.steps(buildid)[-1]
    assert step["state_string"] == "waiting for locks: database, held by linux #7 deploy"
    assert step["started_at"] is not None and step["locks_acquired_at"] is None
    other.release()
    await farm.ended()
    step = farm.master.steps(buildid)[-1]
    assert step["results"] == SUCCESS and step["locks_acquired_at"] is not None
    assert farm.master.build(buildid)["locks_duration_s"] >= 0 and farm.master.of("setBuildLocksDuration")
    assert list(farm.builder.locks) == []
    await farm.stop()


@pytest.mark.parametrize(("outcome", "results"), [(SUCCESS, SUCCESS), (RuntimeError("oh"), EXCEPTION), (17, EXCEPTION)])
async def test_a_step_lets_go_however_it_ends(outcome: Any, results: int) -> None:
    """After a success, an exception, or nonsense."""
    farm = StepHarness(Held(lambda: outcome, locks=renderer(lambda props: [LOCK])))
    await farm.run()
    assert farm.master.steps(1)[-1]["results"] == results
    assert list(farm.builder.locks) == []
    await farm.stop()


async def test_stopped_while_it_waits() -> None:
    """It is CANCELLED without having run; its log says why, and it waits no more."""
    ran: list[int] = []
    farm = StepHarness(Held(lambda: ran.append(1), locks=[LOCK.access("exclusive")]))
    other = farm.builder.locks.claim("other", farm.builder.locks.of([LOCK.access("counting")], "w"), print)
    await farm.start()
    buildid = await farm.build()
    await farm.master.until(lambda: bool(farm.builder.locks.of([LOCK.access("counting")], "w")[0][0].waiting))
    await farm.master.stop_build(buildid, "enough")
    await farm.ended()
    step = farm.master.steps(buildid)[-1]
    assert (step["results"], step["locks_acquired_at"], ran) == (CANCELLED, None, [])
    assert farm.master.text(step["stepid"], "cancelled while waiting for locks") == "enough\n"
    other.release()
    assert list(farm.builder.locks) == []
    await farm.stop()


async def test_a_skipped_step_takes_none() -> None:
    """One that does not run neither waits nor has the time when it had its locks."""
    farm = StepHarness(Held(locks=[LOCK], doStepIf=False))
    farm.builder.locks.claim("other", farm.builder.locks.of([LOCK.access("exclusive")], "w"), print)
    await farm.run()
    assert farm.master.steps(1)[-1]["locks_acquired_at"] is None
    await farm.stop()


async def test_a_step_that_would_wait_for_its_own_build() -> None:
    """A mistake that is known only when the step begins ends it at once, with the reason in its log."""
    farm = StepHarness(Held(locks=renderer(lambda props: [LOCK])), locks=[LOCK])
    await farm.start()
    request = await farm.master.add_request("b")
    held = farm.builder.locks.try_claim("b", farm.builder.locks.of(farm.config.locks, "w"))
    await farm.builder.start_build(request, farm.manager.workers["w"], locks=held)
    await farm.ended()
    first, last = farm.master.steps(1)[1:]
    assert (first["name"], first["state_string"], first["results"]) == (LOCKS, "locks acquired", SUCCESS)
    assert last["results"] == EXCEPTION
    assert "holds the lock 'database' already" in farm.master.text(last["stepid"], "err.text")
    assert list(farm.builder.locks) == []
    await farm.stop()


async def test_a_lost_worker_lets_go() -> None:
    """A build whose worker is lost holds nothing afterwards."""
    farm = StepHarness(steps.ShellCommand(command=["x"], locks=[MasterLock("other")]), script=lambda n, a: ([], None))
    await farm.start()
    request = await farm.master.add_request("b")
    held = farm.builder.locks.try_claim("b", farm.builder.locks.of([LOCK.access("exclusive")], "w"))
    await farm.builder.start_build(request, farm.manager.workers["w"], locks=held)
    await farm.master.until(lambda: bool(farm.connection.running))
    assert [(lock.name, [claim.owner for claim in lock.holders]) for lock in farm.builder.locks] == [
        ("database", ["b #1"]),
        ("other", ["b #1 shell"]),
    ]
    farm.connection.closed("gone")
    await farm.ended()
    assert farm.master.build(1)["results"] == RETRY and list(farm.builder.locks) == []
    await farm.stop()


# builders


@pytest.fixture(name="farm")
def make_farm(master: FakeMaster) -> Farm:
    return Farm(master, Workers(w=9, v=9))


class Builds:
    """The locks that builders of a farm hold."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.held: dict[str, Any] = {}

    async def builder(self, name: str, **config: Any) -> Builder:
        builder = await self.farm.builder(name, **config)
        start = builder.start_build

        async def note(request: Any, worker: Any, reserved: str = "", locks: Any = None) -> None:
            await start(request, worker, reserved)
            self.held[name] = worker.name, locks

        builder.start_build = note  # type: ignore[method-assign]
        return builder

    async def started(self, *names: str) -> None:
        async def there() -> bool:
            return set(self.held) == set(names)

        await until(there)

    def end(self, name: str) -> None:
        worker, locks = self.held.pop(name)
        self.farm.free(worker)
        locks.release()


@pytest.mark.parametrize("way", ["plain", "rendered", "functions"])
async def test_builders_take_turns(farm: Farm, way: str) -> None:
    """A builder whose lock is held starts nothing, takes no worker, and is served in its turn."""
    builds = Builds(farm)
    config: dict[str, Any] = {"locks": [LOCK.access("exclusive")]}
    if way == "rendered":
        config["locks"] = renderer(lambda props: [LOCK.access("exclusive")])
    if way == "functions":
        config["canStartBuild"] = lambda builder, worker, request: True

    async def before(request: Any, worker: Any) -> Properties:
        return Properties()

    for name in "abc":
        builder = await builds.builder(name, **config)
        builder.properties_before = before  # type: ignore[attr-defined]
    await builds.builder("free")
    await farm.distributor.start()
    for name in "abc":
        await farm.request(name)
    await builds.started("a")
    await farm.request("free")
    await builds.started("a", "free")
    (lock,) = farm.distributor.locks
    assert [claim.owner for claim in lock.waiting] == ["b", "c"]
    builds.end("a")
    await builds.started("b", "free")
    builds.end("b")
    await builds.started("c", "free")
    builds.end("c")
    assert list(farm.distributor.locks) == []
    await farm.distributor.stop()


async def test_another_worker_has_its_own_lock(farm: Farm) -> None:
    """If a worker's lock is held, another worker is taken; if all are held, the first that is released."""
    builds, lock = Builds(farm), WorkerLock("disk")
    for name in "abc":
        await builds.builder(name, locks=[lock.access("exclusive")])
    await farm.distributor.start()
    for name in "abc":
        await farm.request(name)
    await builds.started("a", "b")
    assert {builds.held["a"][0], builds.held["b"][0]} == {"v", "w"}
    there = builds.held["b"][0]
    builds.end("b")
    await builds.started("a", "c")
    assert builds.held["c"][0] == there
    await farm.distributor.stop()


async def test_locks_of_a_worker(farm: Farm) -> None:
    """Each build on the worker holds them."""
    farm.workers.workers["w"].locks = (LOCK.access("exclusive"),)
    farm.workers.workers["v"].places = 0
    builds = Builds(farm)
    for name in "ab":
        await builds.builder(name)
    await farm.distributor.start()
    for name in "ab":
        await farm.request(name)
    await builds.started("a")
    builds.end("a")
    await builds.started("b")
    await farm.distributor.stop()


async def test_a_turn_that_is_not_used_passes(farm: Farm) -> None:
    """A builder whose turn comes while it has nothing to build any more does not keep others waiting."""
    builds = Builds(farm)
    for name in "abc":
        await builds.builder(name, locks=[LOCK.access("exclusive")])
    await farm.distributor.start()
    await farm.request("a")
    gone = await farm.request("b")
    await farm.request("c")
    await builds.started("a")
    await farm.master.data.control("cancel", {}, ("buildrequests", gone))
    builds.end("a")
    await builds.started("c")
    await farm.distributor.stop()


async def test_a_request_that_another_master_took(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A builder that loses its claim to another master holds no lock."""
    builds = Builds(farm)
    await builds.builder("a", locks=[LOCK.access("exclusive")])
    asked: list[int] = []

    async def faster(brids: list[int]) -> bool:
        await next_turn()
        asked.extend(brids)
        return False

    monkeypatch.setattr(farm.master.data.update, "claimBuildRequests", faster)
    await farm.distributor.start()
    brid = await farm.request("a")

    async def lost() -> bool:
        return asked == [brid] and list(farm.distributor.locks) == []

    await until(lost)
    await farm.distributor.stop()


# the configuration


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LOCK.access("shared"), "mode must be 'counting' or 'exclusive', not 'shared'"),  # type: ignore[arg-type]
        (lambda: LOCK.access("counting", 2), "count 2 is more than its maxCount 1"),
        (lambda: LOCK.access("counting", -1), "count must be a whole number from 0 on"),
        (lambda: LOCK.access("exclusive", 2), "an exclusive access has the count 1, not 2"),
        (lambda: LockAccess("database", "counting"), "lock must be a util.MasterLock or util.WorkerLock"),  # type: ignore[arg-type]
        (lambda: MasterLock("m", maxCount="2"), "MasterLock 'm': maxCount must be"),  # type: ignore[arg-type]
        (lambda: MasterLock(3), "MasterLock: name must be a text"),  # type: ignore[arg-type]
        (lambda: WorkerLock("m", maxCountForWorker={"w": "x"}), "maxCountForWorker must be"),  # type: ignore[dict-item]
        (lambda: Held(locks=["m"]), "locks element 1 must be what a lock's access(…) gives, not 'm'"),
        (lambda: Held(locks=[LOCK, LOCK.access("exclusive")]), "name MasterLock 'database' twice"),
        (lambda: worker.Worker("w", "p", locks=LOCK), "locks must be a list"),
    ],
)
def test_mistakes(make: Any, said: str) -> None:
    """A mistake is reported where the object is made."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert said in str(caught.value)


def complaints(tmp_path: Any, its_steps: Any = (), on_worker: Any = (), **builder: Any) -> str:
    made = util.BuilderConfig(name="b", workernames=["w"], factory=util.BuildFactory(its_steps), **builder)
    values = {
        "workers": [worker.Worker("w", "p", locks=on_worker)],
        "protocols": {"pb": {"port": 9989}},
        "builders": [made],
    }
    try:
        MasterConfig.from_values(values, tmp_path)
    except ConfigErrors as mistakes:
        return str(mistakes)
    return ""


def test_locks_that_a_build_would_wait_for_itself(tmp_path: Any) -> None:
    """The same lock in the builder and a step, or in the worker; and two locks of one name."""
    access = LOCK.access("counting")
    assert "its step 'held' wants MasterLock 'database', which the builder itself holds" in complaints(
        tmp_path, [Held(locks=[access])], locks=[LOCK]
    )
    assert "the builder itself wants MasterLock 'database', which its worker 'w' holds" in complaints(
        tmp_path, on_worker=[access], locks=[access]
    )
    assert "two locks MasterLock 'database' with different counts" in complaints(
        tmp_path, [Held(locks=[MasterLock("database", 2).access("counting")])], locks=renderer(lambda props: [])
    ) + complaints(tmp_path, [Held(locks=[MasterLock("database", 2)]), Held(locks=[LOCK])])
    assert complaints(tmp_path, [Held(locks=[access])], locks=Property("locks")) == ""
    assert complaints(tmp_path, [Held(locks=[WorkerLock("database")])], locks=[access]) == ""


def test_names() -> None:
    """The names that configurations import are the classes."""
    assert util.MasterLock is buildbot.locks.MasterLock is MasterLock
    assert util.WorkerLock is buildbot.locks.WorkerLock is WorkerLock
    assert LOCK.defaultAccess() == LOCK.access("counting") == LockAccess(LOCK, "counting")
