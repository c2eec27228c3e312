"""The distributor: requests go to builders that can take them, the most urgent first, each once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

import buildbot.buildrequest
from buildbot.plugins import util
from buildbot.process.buildrequest import BuildRequest
from buildbot.process.distributor import Distributor
from buildbot.process.workerforbuilder import AbstractWorkerForBuilder
from buildbot.process.workers.idle import WorkerPool
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.test.running import Running, until
from buildbot.util.results import SKIPPED
from tests.support.reactor import fired


class Worker:
    """A worker with a place for some builds."""

    def __init__(self, name: str, places: int) -> None:
        self.name = name
        self.places = places
        self.builds: dict[str, str] = {}
        self.locks: tuple[Any, ...] = ()
        self.asked = 0

    def has_room(self) -> bool:
        self.asked += 1
        return self.places > 0

    def can_take(self, builder: str) -> bool:
        return self.has_room()

    def reserve(self, builder: str) -> str:
        self.places -= 1
        return "reserved"

    def release(self, builder: str) -> None:
        self.places += 1


class Workers:
    """Workers with a place for some builds each."""

    def __init__(self, **places: int) -> None:
        self.workers = {name: Worker(name, free) for name, free in places.items()}
        self.pools: list[WorkerPool] = []
        self.on_change: Any = None

    def available(self, builder: str) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.places]

    def pool(self, names: Any) -> WorkerPool:
        pool = next((pool for pool in self.pools if pool.names == frozenset(names)), None)
        if pool is None:
            pool = WorkerPool(names)
            self.pools.append(pool)
        for name in names:
            if name in self.workers:
                pool.offer(self.workers[name])  # type: ignore[arg-type]
        return pool

    def keep_pools(self, pools: Any) -> None:
        """Nothing grows here."""

    def free(self, name: str) -> None:
        self.workers[name].places += 1
        for pool in self.pools:
            if name in pool.names:
                pool.offer(self.workers[name])  # type: ignore[arg-type]
        self.on_change(name)


class Builder:
    """A builder that takes builds as long as there is a worker, and notes which."""

    def __init__(self, name: str, builderid: int, workers: Workers, **config: Any) -> None:
        defaults = {"workernames": tuple(workers.workers), "nextBuild": None, "nextWorker": None, "canStartBuild": None}
        defaults |= {"collapseRequests": None, "locks": ()}
        self.config = SimpleNamespace(**defaults | config)
        self.name, self.builderid, self.workers = name, builderid, workers
        self.started: list[int] = []
        self.used: list[str] = []
        self.problem: Exception | None = None
        self.hold: Deferred[None] | None = None

    def can_start(self) -> bool:
        return bool(self.workers.available(self.name))

    async def start_build(self, request: dict[str, Any], worker: Worker, reserved: str = "", locks: Any = None) -> None:
        if self.problem is not None:
            if reserved:
                worker.release(self.name)
            raise self.problem
        if not reserved:
            worker.reserve(self.name)
        self.started.append(request["buildrequestid"])
        self.used.append(worker.name)
        if self.hold is not None:
            await self.hold


class Farm:
    """A master with a distributor over fake builders."""

    def __init__(self, master: FakeMaster, workers: Workers) -> None:
        self.clock = Clock()
        self.master = Running(master, reactor=self.clock)
        self.workers = workers
        self.builders: dict[str, Builder] = {}
        self.distributor = Distributor(self.master, self.builders, workers)  # type: ignore[arg-type]

    async def builder(self, name: str, **config: Any) -> Builder:
        builderid = await self.master.data.update.findBuilderId(name)
        self.builders[name] = Builder(name, builderid, self.workers, **config)
        return self.builders[name]

    async def request(self, *names: str, priority: int = 0) -> int:
        _, brids = await self.master.data.update.addBuildset(
            sourcestamps=[{"codebase": ""}], reason="", builderNames=list(names), priority=priority
        )
        return int(brids[names[0]])

    async def started(self, builder: Builder, *brids: int) -> None:
        async def enough() -> bool:
            return len(builder.started) >= len(brids)

        await until(enough)
        assert builder.started == list(brids)

    def free(self, worker: str = "w") -> None:
        self.workers.free(worker)


@pytest.fixture(name="farm")
def make_farm(master: FakeMaster) -> Farm:
    return Farm(master, Workers(w=1))


async def test_a_new_request_is_built(farm: Farm) -> None:
    builder = await farm.builder("b")
    await farm.distributor.start()
    brid = await farm.request("b")
    await farm.started(builder, brid)
    request = await farm.master.data.get({}, ("buildrequests", brid))
    assert request["claimed_by_masterid"] == farm.master.masterid


async def test_requests_from_before_the_start_are_built_as_workers_become_free(farm: Farm) -> None:
    """By priority, then by age."""
    builder = await farm.builder("b")
    old, new = await farm.request("b"), await farm.request("b")
    urgent = await farm.request("b", priority=5)
    await farm.distributor.start()
    await farm.started(builder, urgent)
    farm.free()
    await farm.started(builder, urgent, old)
    farm.free()
    await farm.started(builder, urgent, old, new)


async def test_builders_that_share_a_worker_take_turns_by_urgency(farm: Farm) -> None:
    first, second = await farm.builder("b1"), await farm.builder("b2")
    one, two = await farm.request("b1"), await farm.request("b2", priority=1)
    await farm.distributor.start()
    await farm.started(second, two)
    assert first.started == []
    farm.free()
    await farm.started(first, one)


async def test_a_long_queue_is_served_in_pages(farm: Farm) -> None:
    farm.workers.workers["w"].places = 45
    builder = await farm.builder("b")
    brids = [await farm.request("b") for _ in range(50)]
    await farm.distributor.start()
    await farm.started(builder, *brids[:45])


async def test_the_queue_of_one_builder_does_not_hide_another(farm: Farm) -> None:
    farm.workers.workers["w"].places = 2
    blocked = await farm.builder("blocked", canStartBuild=lambda builder, worker, request: False)
    for _ in range(30):
        await farm.request("blocked", priority=9)
    free = await farm.builder("free")
    brid = await farm.request("free")
    await farm.distributor.start()
    await farm.started(free, brid)
    assert blocked.started == []


async def test_requests_of_other_masters_builders_are_left_alone(farm: Farm) -> None:
    builder = await farm.builder("b")
    await farm.request("elsewhere")
    await farm.distributor.start()
    brid = await farm.request("b")
    await farm.started(builder, brid)


async def test_a_lost_claim_goes_on_with_the_next_request(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = await farm.builder("b")
    first, second = await farm.request("b"), await farm.request("b")
    claim = farm.master.data.update.claimBuildRequests

    async def faster(brids: list[int]) -> bool:
        return False if first in brids else await claim(brids)

    monkeypatch.setattr(farm.master.data.update, "claimBuildRequests", faster)
    await farm.distributor.start()
    await farm.started(builder, second)


async def test_a_build_that_cannot_start_gives_its_request_back(farm: Farm) -> None:
    """The builder rests for a moment, then it is tried again."""
    builder = await farm.builder("b")
    builder.problem = RuntimeError("the worker ran away")
    await farm.distributor.start()
    with capturedLogs() as logs:
        brid = await farm.request("b")

        async def given_back() -> bool:
            return bool(logs) and not (await farm.master.data.get({}, ("buildrequests", brid)))["claimed"]

        await until(given_back)
    builder.problem = None
    farm.free()
    assert builder.started == []
    farm.clock.advance(10)
    await farm.started(builder, brid)


async def test_a_request_given_back_is_built_again(farm: Farm) -> None:
    builder = await farm.builder("b")
    await farm.distributor.start()
    brid = await farm.request("b")
    await farm.started(builder, brid)
    farm.free()
    await farm.master.data.update.unclaimBuildRequests([brid])
    await farm.started(builder, brid, brid)


async def test_a_database_that_is_away_is_tried_again(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = await farm.builder("b")
    brid = await farm.request("b")
    get = farm.master.data.get

    async def away(*_: Any) -> None:
        raise RuntimeError("away")

    monkeypatch.setattr(farm.master.data, "get", away)
    with capturedLogs() as logs:
        await farm.distributor.start()
    assert len(logs) == 1
    monkeypatch.setattr(farm.master.data, "get", get)
    farm.clock.advance(10)
    await farm.started(builder, brid)


async def test_users_functions_choose(farm: Farm) -> None:
    farm.workers.workers["w2"] = Worker("w2", 1)

    async def next_worker(builder: Any, workers: list[str], request: Any) -> str:
        return workers[-1]

    builder = await farm.builder("b", nextBuild=lambda builder, requests: requests[-1], nextWorker=next_worker)
    first, second = await farm.request("b"), await farm.request("b")
    await farm.distributor.start()
    await farm.started(builder, second, first)
    assert builder.used == ["w2", "w"]


async def test_all_that_waits_is_offered(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """nextBuild is given every request, the most urgent first, and each is read whole but once."""
    monkeypatch.setattr("buildbot.process.candidates.FIRST", 3)
    monkeypatch.setattr("buildbot.process.candidates.CHUNK", 4)
    offered: list[list[tuple[int, int]]] = []

    def next_build(builder: Any, requests: list[Any]) -> Any:
        offered.append([(request.id, request.priority) for request in requests])
        return requests[-1]

    builder = await farm.builder("b", nextBuild=next_build)
    brids = [await farm.request("b") for _ in range(11)]
    get, read = farm.master.data.get, list[int]()

    async def noted(options: Any, path: Any) -> Any:
        rows = await get(options, path)
        if "expand" in options:
            read.extend(row["buildrequestid"] for row in rows)
        return rows

    monkeypatch.setattr(farm.master.data, "get", noted)
    await farm.distributor.start()
    await farm.started(builder, brids[10])
    await farm.master.data.control("set_priority", {"priority": 3}, ("buildrequests", brids[5]))
    farm.free()
    await farm.started(builder, brids[10], brids[9])
    assert offered[0] == [(brid, 0) for brid in brids]
    assert offered[-1] == [(brids[5], 3), *((brid, 0) for brid in brids[:10] if brid != brids[5])]
    assert sorted(read) == sorted([*brids, brids[5]])


async def test_long_patches_are_cut(farm: Farm) -> None:
    """A waiting request in memory has only the beginning of its patch; the build gets all of it from the database."""
    seen: list[int] = []

    def can_start(builder: Any, worker: Any, request: Any) -> bool:
        seen.append(len(request.source.patch["body"]))
        return True

    builder = await farm.builder("b", canStartBuild=can_start)
    stamp = {"codebase": "", "patch_body": "x" * 50_000, "patch_level": 1}
    _, brids = await farm.master.data.update.addBuildset(sourcestamps=[stamp], builderNames=["b"])
    await farm.distributor.start()
    await farm.started(builder, brids["b"])
    assert seen == [10_000]
    buildset = await farm.master.data.get({}, ("buildsets", 1))
    assert len(buildset["sourcestamps"][0]["patch"]["body"]) == 50_000


async def test_each_request_is_tried(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests canStartBuild refuses, the next one is asked about."""
    monkeypatch.setattr("buildbot.process.candidates.FIRST", 3)
    brids = [await farm.request("b") for _ in range(9)]
    builder = await farm.builder("b", canStartBuild=lambda builder, worker, request: request.id == brids[7])
    await farm.distributor.start()
    await farm.started(builder, brids[7])
    await farm.master.data.control("cancel", {"reason": "x"}, ("buildrequests", brids[0]))
    brids[7] = await farm.request("b")
    farm.free()
    await farm.started(builder, builder.started[0], brids[7])


async def test_arguments_of_users_functions(farm: Farm) -> None:
    """A request with its properties, source stamps and reason, and workers for the builder."""
    seen: list[Any] = []

    def can_start(builder: Any, worker: Any, request: Any) -> bool:
        seen.append((worker, request))
        return True

    builder = await farm.builder("b", canStartBuild=can_start)
    _, brids = await farm.master.data.update.addBuildset(
        sourcestamps=[{"codebase": "lib", "branch": "main", "revision": "r"}],
        reason="because",
        builderNames=["b"],
        priority=4,
        properties={"wanted": ("this", "Force Build Form")},
    )
    await farm.distributor.start()
    await farm.started(builder, brids["b"])
    ((worker, request),) = seen
    assert (request.id, request.bsid, request.priority, request.buildername) == (brids["b"], 1, 4, "b")
    assert (request.reason, request.waitedFor) == ("because", False)
    assert request.properties.getProperty("wanted") == "this" and request.properties.hasProperty("wanted")
    assert (request.sources["lib"].branch, request.source.revision) == ("main", "r")
    assert request.getSubmitTime() == request.submittedAt > 0
    assert (worker.workername, worker.builder_name, worker.isBusy()) == ("w", "b", False)
    assert isinstance(worker, AbstractWorkerForBuilder)
    assert buildbot.buildrequest.BuildRequest is BuildRequest


async def test_enforce_chosen_worker(farm: Farm) -> None:
    """A request that names a worker is built there, and waits for it; another one anywhere."""
    farm.workers.workers["w2"] = Worker("w2", 0)
    builder = await farm.builder("b", canStartBuild=util.enforceChosenWorker)
    await farm.distributor.start()
    _, brids = await farm.master.data.update.addBuildset(
        sourcestamps=[{"codebase": ""}], builderNames=["b"], priority=9, properties={"workername": ("w2", "Form")}
    )
    anywhere = await farm.request("b")
    await farm.started(builder, anywhere)
    farm.free("w2")
    await farm.started(builder, anywhere, brids["b"])
    assert builder.used == ["w", "w2"]


@pytest.mark.parametrize(
    ("function", "no", "yes"),
    [
        ("canStartBuild", lambda *_: False, lambda *_: True),
        ("nextBuild", lambda *_: None, lambda builder, requests: requests[0]),
        ("nextWorker", lambda *_: None, lambda builder, workers, request: workers[0]),
        ("nextWorker", lambda *_: "none of them", lambda builder, workers, request: workers[0]),
        ("canStartBuild", lambda *_: 1 // 0, lambda *_: True),
    ],
)
async def test_a_no_is_asked_again(farm: Farm, function: str, no: Any, yes: Any) -> None:
    """No event says when a user's function would decide otherwise, so it is called again within a minute."""
    answer = [no]
    builder = await farm.builder("b", **{function: lambda *arguments: answer[0](*arguments)})
    with capturedLogs():
        await farm.distributor.start()
        brid = await farm.request("b")

        async def asked() -> bool:
            return "b" in farm.distributor._again

        await until(asked)
        farm.clock.advance(30)
        await until(asked)
    assert builder.started == []
    answer[0] = yes
    farm.clock.advance(30)
    await farm.started(builder, brid)


async def test_a_function_that_fails_holds_up_its_builder_only(farm: Farm) -> None:
    """The other builders get their workers, and the failure is in the log."""
    failing = await farm.builder("a", canStartBuild=lambda *_: 1 // 0)
    other = await farm.builder("b")
    await farm.request("a")
    brid = await farm.request("b")
    with capturedLogs() as logs:
        await farm.distributor.start()
        await farm.started(other, brid)
    assert failing.started == []
    assert any("log_failure" in each for each in logs)


async def test_a_request_that_no_worker_may_take_does_not_hide_the_next(farm: Farm) -> None:
    """Only this request is left out, in this round."""
    refused: list[int] = []
    builder = await farm.builder("b", canStartBuild=lambda builder, worker, request: request.id not in refused)
    refused += [await farm.request("b", priority=9) for _ in range(25)]
    brid = await farm.request("b")
    await farm.distributor.start()
    await farm.started(builder, brid)


async def test_select_next_worker(farm: Farm) -> None:
    """It chooses for builders that have no nextWorker of their own."""
    farm.workers.workers["w2"] = Worker("w2", 2)
    farm.distributor.chooser.next_worker = lambda builder, workers, request: workers[-1]
    one = await farm.builder("b1")
    own = await farm.builder("b2", nextWorker=lambda builder, workers, request: workers[0])
    await farm.distributor.start()
    first, second = await farm.request("b1"), await farm.request("b2")
    await farm.started(one, first)
    await farm.started(own, second)
    assert (one.used, own.used) == (["w2"], ["w"])


async def test_prioritize_builders(farm: Farm) -> None:
    """Builders are served in its order, for any priorities of requests; builders that it leaves out get nothing now."""
    order = ["b3", "b1"]

    async def prioritize(master: Any, builders: list[Any]) -> list[Any]:
        assert master is farm.master
        assert {builder.name for builder in builders} == {"b1", "b2", "b3"}
        return [farm.builders[name] for name in order]

    farm.distributor.prioritize = prioritize
    first, second, third = [await farm.builder(name) for name in ("b1", "b2", "b3")]
    brids = [await farm.request(name, priority=-number) for number, name in enumerate(("b1", "b2", "b3"))]
    await farm.distributor.start()
    await farm.started(third, brids[2])
    farm.free()
    await farm.started(first, brids[0])
    farm.free()
    order.append("b2")
    assert second.started == []
    farm.clock.advance(30)
    await farm.started(second, brids[1])


async def test_prioritize_builders_that_fails(farm: Farm) -> None:
    """Nothing waits for it: the most urgent request goes first."""
    farm.distributor.prioritize = lambda master, builders: 1 // 0
    builder = await farm.builder("b")
    brid = await farm.request("b")
    with capturedLogs() as logs:
        await farm.distributor.start()
        await farm.started(builder, brid)
    assert any("prioritizeBuilders failed" in each["log_format"] for each in logs)


async def results(farm: Farm) -> list[int]:
    rows = await farm.master.data.get({"order": ["buildrequestid"]}, ("buildrequests",))
    return [each["results"] for each in rows]


async def add(farm: Farm, priority: int = 0, waited_for: bool = False, properties: Any = None, **stamp: Any) -> int:
    stamp = {"codebase": "", "branch": "main", **stamp}
    _, brids = await farm.master.data.update.addBuildset(
        sourcestamps=[stamp], reason="", builderNames=["b"], priority=priority, waited_for=waited_for,
        properties={name: (value, "x") for name, value in (properties or {}).items()},
    )  # fmt: skip
    return int(brids["b"])


PATCH = {"patch_body": "p", "patch_level": 1, "patch_author": "", "patch_comment": "", "patch_subdir": "."}


@pytest.mark.parametrize(
    ("first", "second", "collapsed"),
    [
        ({}, {}, True),
        ({"revision": "1"}, {"revision": "1"}, True),
        ({"properties": {"owner": "a", "reason": "x"}}, {"properties": {"owner": "b", "reason": "y"}}, True),
        ({"revision": "1"}, {"revision": "2"}, False),
        ({"branch": "a"}, {"branch": "b"}, False),
        ({"repository": "a"}, {"repository": "b"}, False),
        ({"project": "a"}, {"project": "b"}, False),
        ({"codebase": "a"}, {"codebase": "b"}, False),
        ({"properties": {"p": 1}}, {"properties": {"p": 2}}, False),
        ({"properties": {"p": 1}}, {}, False),
        (PATCH, PATCH, False),
        ({"waited_for": True}, {}, False),
        ({}, {"waited_for": True}, False),
    ],
)
async def test_collapsing(farm: Farm, first: Any, second: Any, collapsed: bool) -> None:
    """Of two equal requests the newer one is built; a request for other code is built, too."""
    farm.workers.workers["w"].places = 0
    builder = await farm.builder("b", collapseRequests=True)
    await farm.distributor.start()
    brids = [await add(farm, **first), await add(farm, **second)]
    if collapsed:

        async def skipped() -> bool:
            return await results(farm) == [SKIPPED, -1]

        await until(skipped)
    farm.free()
    farm.free()
    await farm.started(builder, *brids[1 if collapsed else 0 :])
    old = await farm.master.data.get({}, ("buildrequests", brids[0]))
    buildset = await farm.master.data.get({}, ("buildsets", old["buildsetid"]))
    assert (buildset["complete"], buildset["results"] == 0) == (collapsed, collapsed)


@pytest.mark.parametrize(
    ("default", "own", "collapsed"),
    [
        (False, None, False), (True, None, True), (True, False, False), (False, True, True),
        (lambda *_: True, None, True), (lambda *_: False, None, False), (lambda *_: 1 // 0, None, False),
    ],
)  # fmt: skip
async def test_whose_requests_are_collapsed(farm: Farm, default: Any, own: Any, collapsed: bool) -> None:
    """The builder's word counts, else the installation's; a function that fails collapses nothing."""
    farm.workers.workers["w"].places = 0
    farm.distributor.collapser.default = default
    builder = await farm.builder("b", collapseRequests=own)
    with capturedLogs():
        await farm.distributor.start()
        brids = [await add(farm), await add(farm)]
        if collapsed:

            async def skipped() -> bool:
                return await results(farm) == [SKIPPED, -1]

            await until(skipped)
        farm.free()
        farm.free()
        await farm.started(builder, *brids[collapsed:])


async def test_a_function_that_collapses(farm: Farm) -> None:
    """It is given the builder, as object and dictionary, the new request and each older one that waits; the one that
    stays takes the highest priority."""
    farm.workers.workers["w"].places = 0
    asked: list[tuple[int, int]] = []

    async def both(master: Any, builder: Any, new: Any, old: Any) -> bool:
        assert master is farm.master
        assert builder.name == builder["name"] == "b" and builder["builderid"] == builder.builderid
        asked.append((new["buildrequestid"], old["buildrequestid"]))
        return not await BuildRequest.canBeCollapsed(cast(Any, master), new, old)

    await farm.builder("b", collapseRequests=both)
    await farm.distributor.start()
    first, second = await add(farm, priority=7, revision="1"), await add(farm, revision="2")

    async def raised() -> bool:
        row = await farm.master.data.get({}, ("buildrequests", second))
        return bool(row["priority"] == 7)

    await until(raised)
    assert asked == [(second, first)]
    assert await results(farm) == [SKIPPED, -1]
    await add(farm, revision="2")

    async def looked_at() -> bool:
        return len(asked) == 2

    await until(looked_at)
    assert await results(farm) == [SKIPPED, -1, -1]


async def test_two_masters_collapse_each_request_once(master: FakeMaster) -> None:
    """Both look at each new request; one of them completes the older one."""
    farms = [Farm(master, Workers(w=0)), Farm(master, Workers(w=0))]
    for farm in farms:
        await farm.builder("b", collapseRequests=True)
        await farm.distributor.start()
    for _ in range(10):
        await add(farms[0])

    async def one_is_left() -> bool:
        return await results(farms[0]) == [SKIPPED] * 9 + [-1]

    await until(one_is_left)


async def test_stopping_waits_for_builds_that_are_being_started(farm: Farm) -> None:
    farm.workers.workers["w"].places = 2
    builder = await farm.builder("b")
    builder.hold = Deferred()
    await farm.request("b")
    await farm.request("b")
    await farm.distributor.start()
    stopped: Deferred[None] = Deferred.fromCoroutine(farm.distributor.stop())
    assert not fired(stopped)
    builder.hold.callback(None)
    assert fired(stopped)
    assert len(builder.started) == 2
    assert farm.clock.getDelayedCalls() == []


async def test_two_masters_build_each_request_once(master: FakeMaster) -> None:
    """Both read the same queue; the claim decides."""
    farms = [Farm(master, Workers(w=30)), Farm(master, Workers(w=30))]
    builders = [await farm.builder("b") for farm in farms]
    for farm in farms:
        await farm.distributor.start()
    brids = [await farms[0].request("b") for _ in range(40)]

    async def all_started() -> bool:
        return sum(len(builder.started) for builder in builders) >= 40

    await until(all_started)
    assert sorted(builders[0].started + builders[1].started) == brids


async def test_requests_for_several_idle_workers_are_claimed_side_by_side(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All claims are asked for before the first is answered, so that they are one transaction; so are the starts."""
    builder = await farm.builder("b")
    await farm.distributor.start()
    brids = [await farm.request("b") for _ in range(6)]
    await farm.started(builder, brids[0])
    claim, asked = farm.master.data.update.claimBuildRequests, Deferred[None]()
    claims: list[int] = []

    async def held(brids: list[int]) -> bool:
        claims.extend(brids)
        if len(claims) == 5:
            asked.callback(None)
        if not asked.called:
            await asked
        return bool(await claim(brids))

    monkeypatch.setattr(farm.master.data.update, "claimBuildRequests", held)
    farm.workers.workers["w"].places = 4
    farm.free()
    await farm.started(builder, *brids)
    assert claims == brids[1:]


async def test_an_event_costs_the_same_among_many_builders_and_workers(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 300 builders and 300 busy workers: a request asks no worker and no database, one that ended its build is
    found at once, and its next request with a few statements.
    """
    workers = farm.workers.workers
    workers.update({f"w{number}": Worker(f"w{number}", 0) for number in range(300)})
    workers["w"].places = 0
    builders = [await farm.builder(f"b{number}") for number in range(300)]
    await farm.distributor.start()
    get, reads = farm.master.data.get, []

    def counted(*arguments: Any) -> Any:
        reads.append(arguments)
        return get(*arguments)

    monkeypatch.setattr(farm.master.data, "get", counted)
    for worker in workers.values():
        worker.asked = 0
    brids = [await farm.request(f"b{number}") for number in range(3)]
    assert reads == [] and sum(worker.asked for worker in workers.values()) == 0
    farm.free("w7")
    await farm.started(builders[0], brids[0])
    assert sum(worker.asked for worker in workers.values()) < 10
    assert len(reads) <= 1
    farm.free("w7")
    await farm.started(builders[1], brids[1])
    assert len(reads) <= 1


async def test_a_foreign_builders_request_is_not_looked_at(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its routing key says that it is nothing for this master."""
    await farm.builder("b")
    await farm.distributor.start()
    heard: list[Any] = []
    monkeypatch.setattr(farm.distributor, "wake", heard.append)
    await farm.request("elsewhere")
    assert heard == []
