"""Reports arrive: at least once, in order, also after failures of the receiver and of masters."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from buildbot.db.exceptions import NotClaimedError
from buildbot.db.held import thd_hold
from buildbot.reporters import delivery
from buildbot.reporters.base import ReporterBase
from buildbot.reporters.delivery import GIVE_UP_S, SendLater, deliveries_of
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator, BuildStatusGenerator
from buildbot.reporters.message import MessageFormatterEmpty
from buildbot.test.fake.fakedb import make_master
from buildbot.test.reporters import ReporterHarness
from buildbot.util.results import FAILURE, SUCCESS


class Teller(ReporterBase):
    """A reporter that keeps what it sends, and fails as the test says."""

    name = "teller"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sent: list[Any] = []
        self.keys: list[str] = []
        self.maybe: list[bool] = []
        self.problems: dict[int, list[Any]] = {}
        super().__init__(*args, **kwargs)

    def default_generators(self) -> list[Any]:
        return [BuildStatusGenerator(mode="all", message_formatter=MessageFormatterEmpty())]

    async def sendMessage(self, reports: list[dict[str, Any]]) -> None:
        (build,) = reports[0]["builds"]
        problems = self.problems.get(build["buildid"])
        if problems:
            problem = problems.pop(0)
            if isinstance(problem, Deferred):
                await problem
            elif problem is not None:
                raise problem
        self.keys.append(self.idempotency_key)
        self.maybe.append(self.may_have_arrived_since is not None)
        self.sent.append((build["buildid"], build["results"]))


def turn(clock: Clock) -> None:
    """Run all work that is due."""
    clock.pump([0.0] * 30)


class Farm(ReporterHarness):
    """A harness whose clock the test moves."""

    def __init__(self, teller: Teller | None = None, master: Any = None) -> None:
        self.clock = Clock() if master is None else master.reactor
        self.teller = teller or Teller()
        super().__init__(self.teller, reactor=self.clock, master=master)

    async def starts(self) -> Farm:
        await self.start()
        turn(self.clock)
        return self

    async def built(self, results: int = SUCCESS) -> int:
        buildid = await self.build(results)
        turn(self.clock)
        return buildid

    async def feed(self) -> Any:
        state = self.master.db.state
        return await state.getState(await state.getObjectId("teller", "Reporter"), "feed")


async def test_events_after_the_first_start() -> None:
    """A new reporter begins with later events; a restarted one continues, with each event once."""
    farm = Farm()
    await farm.build()
    await farm.starts()
    assert farm.teller.sent == []
    await farm.built()
    await farm.stop()
    await farm.build(FAILURE)
    again = await Farm(master=farm.master).starts()
    assert (farm.teller.sent, again.teller.sent) == ([(2, SUCCESS)], [(3, FAILURE)])
    await again.stop()
    assert (await again.feed())["waiting"] == {}


async def test_a_receiver_that_is_away() -> None:
    """A failed report is sent again, later each time, until it arrives; those of other builds are not delayed."""
    farm = await Farm().starts()
    farm.teller.problems = {1: [SendLater("away")] * 4}
    await farm.built()
    await farm.built()
    assert farm.teller.sent == [(2, SUCCESS)]
    tried = []
    while farm.waiting():
        farm.clock.advance(1)
        turn(farm.clock)
        tried.append(len(farm.teller.problems[1]))
    assert farm.teller.sent == [(2, SUCCESS), (1, SUCCESS)]
    waits_s = [tried.count(left) for left in (3, 2, 1, 0)]
    # half of the longest to all of it, and a second more or less by the clock's steps
    assert all(longest / 2 - 1 <= wait <= longest + 1 for wait, longest in zip(waits_s, (2, 4, 8, 16), strict=True))
    assert len(set(farm.teller.keys)) == 2
    await farm.stop()


@pytest.mark.parametrize("problem", [SendLater("busy", 40.0), OSError("no route"), ConnectionRefusedError()])
async def test_what_is_tried_again(problem: Exception) -> None:
    """Network errors, and answers that ask for a later attempt, are repeated, after the requested delay."""
    farm = await Farm().starts()
    farm.teller.problems = {1: [problem]}
    await farm.built()
    farm.clock.advance(2.1 if not isinstance(problem, SendLater) else 39.9)
    turn(farm.clock)
    assert farm.teller.sent == ([] if isinstance(problem, SendLater) else [(1, SUCCESS)])
    farm.clock.advance(5)
    turn(farm.clock)
    assert farm.teller.sent == [(1, SUCCESS)]
    await farm.stop()


async def test_a_mistake_is_not_repeated() -> None:
    """A permanent error is logged and counted, and the next report is sent."""
    farm = await Farm().starts()
    farm.teller.problems = {1: [TypeError("a mistake in the reporter")]}
    with capturedLogs() as logs:
        await farm.built()
        await farm.built()
    assert farm.teller.sent == [(2, SUCCESS)]
    (said,) = [each for each in logs if "is given up" in each["log_format"]]
    assert "mistake in the reporter" in str(said["log_failure"].value) and said["what"] == "builds/1/finished"
    values = {each.name: dict(each.values) for each in deliveries_of(farm.master).families()}
    assert values["reports_given_up"] == {("teller",): 1} and values["reports_sent"] == {("teller",): 1}
    assert values["reports_waiting"] == {("teller",): 0}
    await farm.stop()


async def test_hours() -> None:
    """After an hour a receiver gets all reports; if it never answers, they are given up."""
    farm = await Farm().starts()
    farm.teller.problems = {1: [SendLater("away")] * 9, 2: [SendLater("away")] * 10_000}
    farm.master.wall_seconds = started = farm.clock.seconds
    await farm.built()
    await farm.built()
    for _ in range(120):
        farm.clock.advance(60)
        turn(farm.clock)
    assert farm.teller.sent == [(1, SUCCESS)] and farm.waiting() == 1
    while farm.waiting():
        farm.clock.advance(300)
        turn(farm.clock)
    assert GIVE_UP_S <= started() <= GIVE_UP_S + 1200
    assert farm.teller.sent == [(1, SUCCESS)]
    await farm.stop()


async def test_a_clock_that_is_set() -> None:
    """Setting the wall clock neither gives up reports nor keeps them longer."""
    farm = await Farm().starts()
    farm.teller.problems = {1: [SendLater("away")] * 10_000}
    set_to = [0.0]
    farm.master.wall_seconds = lambda: farm.clock.seconds() + set_to[0]
    await farm.built()
    set_to[0] = 2.0 * GIVE_UP_S
    for _ in range(60):
        farm.clock.advance(60)
        turn(farm.clock)
    assert farm.waiting() == 1
    (noted,) = (await farm.feed())["waiting"].values()
    assert abs(noted - set_to[0]) <= 1
    set_to[0] = -5.0 * GIVE_UP_S
    farm.clock.pump([300.0] * int(GIVE_UP_S / 300))
    turn(farm.clock)
    assert farm.waiting() == 0
    await farm.stop()


async def test_order_within_a_build() -> None:
    """The end of a build is never reported before its beginning; a report has the state of its event."""
    empty = MessageFormatterEmpty()
    teller = Teller(generators=[BuildStartEndStatusGenerator(start_formatter=empty, end_formatter=empty)])
    farm = await Farm(teller).starts()
    teller.problems = {1: [SendLater("away")] * 3}
    await farm.built()
    await farm.built(FAILURE)
    assert teller.sent == [(2, None), (2, FAILURE)]
    for _ in range(30):
        farm.clock.advance(1)
        turn(farm.clock)
    assert teller.sent[2:] == [(1, None), (1, SUCCESS)]
    await farm.stop()


async def test_a_master_that_is_killed() -> None:
    """The next master sends reports that were waiting or being sent, and none that arrived before."""
    farm = await Farm().starts()
    under_way: Deferred[None] = Deferred()
    farm.teller.problems = {2: [SendLater("away")] * 99, 3: [under_way]}
    for _ in range(3):
        await farm.built()
    assert farm.teller.sent == [(1, SUCCESS)]
    # nothing of it is told that it ends; its row stays active, so the next one is the same master at a new epoch
    for call in farm.clock.getDelayedCalls():
        call.cancel()
    master = farm.master
    await master.data.update.masterActive()
    master.mq._subscriptions.clear()
    later = Farm(master=master)
    deliveries_of(master).queues.clear()
    await later.starts()
    assert later.teller.sent == [(2, SUCCESS), (3, SUCCESS)]
    assert later.teller.keys[0].startswith("teller-")
    await later.built()
    assert later.teller.maybe == [True, True, False] and farm.teller.maybe == [False]
    await later.stop()


async def test_two_masters(state: Any = None) -> None:
    """One master runs the reporter; another continues when it stops, for the builds of all masters."""
    clock = Clock()
    first = await Farm(master=make_master(clock)).starts()
    objectid = await first.master.db.state.getObjectId("teller", "Reporter")
    held = await first.master.db.state.getState(objectid, "held_by")
    assert held == [first.master.masterid, first.master.db.epoch]
    other = await first.master.db.masters.findMasterId("other:/master")
    await first.master.db.masters.setMasterState(other, True)
    await first.master.db.state.setState(objectid, "held_by", [other, await _epoch(first.master, other)])
    with pytest.raises(NotClaimedError):
        await first.master.db.pool.do(thd_hold, first.master.db, objectid)
    await first.stop()
    again = await Farm(master=first.master).starts()
    await again.built()
    assert again.teller.sent == []
    await first.master.db.masters.setMasterState(other, False)
    clock.advance(60)
    turn(clock)
    assert again.teller.sent == [(1, SUCCESS)]
    await again.stop()


async def _epoch(master: Any, masterid: int) -> int:
    epoch: int = await master.db.pool.read(master.db.masters.thdGetEpoch, masterid)
    return epoch


async def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a limited number of events waits in memory, others in the log; none is lost."""
    monkeypatch.setattr(delivery, "MAX_WAITING", 10)
    farm = await Farm().starts()
    farm.teller.problems = {number: [SendLater("away")] for number in range(1, 31)}
    for _ in range(30):
        await farm.built()
        assert farm.waiting() <= 10
    for _ in range(60):
        farm.clock.advance(1)
        turn(farm.clock)
    assert sorted(farm.teller.sent) == [(number, SUCCESS) for number in range(1, 31)]
    assert (await farm.feed())["waiting"] == {}
    await farm.stop()


async def test_an_event_that_is_gone() -> None:
    """Events that the log no longer has are given up, with a log entry; later ones are reported."""
    farm = await Farm().starts()
    farm.teller.problems = {1: [SendLater("away")] * 99}
    await farm.built()
    await farm.stop()
    assert list((await farm.feed())["waiting"].values()) != []
    await farm.master.mq.trim(1 << 60)
    again = Farm(master=farm.master)
    with capturedLogs() as logs:
        await again.starts()
    assert any("reports are given up" in each["log_format"] and each["count"] == 1 for each in logs)
    await again.built()
    assert again.teller.sent == [(2, SUCCESS)]
    await again.stop()


async def test_a_generator_that_fails() -> None:
    """The failure is logged; the reporter's other generators are not affected."""

    class Broken(BuildStatusGenerator):
        def generate(self, *args: Any) -> Any:
            raise ValueError("broken")

    teller = Teller(generators=[Broken(), BuildStatusGenerator(message_formatter=MessageFormatterEmpty())])
    farm = await Farm(teller).starts()
    with capturedLogs() as logs:
        await farm.built()
    assert teller.sent == [(1, SUCCESS)]
    assert any("{generator} failed" in each["log_format"] for each in logs)
    await farm.stop()


async def test_parts() -> None:
    """A part of a report that has arrived is not sent again."""
    sent: list[str] = []

    class Parts(Teller):
        async def sendMessage(self, reports: list[dict[str, Any]]) -> None:
            async def send(part: str) -> None:
                if part == "b" and sent.count("a") == 1 and "fail" not in sent:
                    sent.append("fail")
                    raise SendLater("away")
                sent.append(part)

            for part in ("a", "b"):
                await self.once(part, partial(send, part))

    farm = await Farm(Parts()).starts()
    await farm.built()
    farm.clock.advance(5)
    turn(farm.clock)
    assert sent == ["a", "fail", "b"]
    await farm.stop()


async def test_stop_while_sending() -> None:
    """The current report has some seconds to end; then the next start sends it."""
    farm = await Farm().starts()
    farm.teller.problems = {1: [Deferred()]}
    await farm.built()
    stopping = farm.manager.stopService()
    farm.clock.advance(delivery.STOP_S)
    await stopping
    again = await Farm(master=farm.master).starts()
    assert again.teller.sent == [(1, SUCCESS)]
    await again.stop()


async def test_a_reconfiguration() -> None:
    """New arguments apply to later events, and no event is reported twice."""
    farm = await Farm().starts()
    await farm.built(FAILURE)
    passing = BuildStatusGenerator("passing", message_formatter=MessageFormatterEmpty())
    await farm.manager.configure([Teller(generators=[passing])])
    turn(farm.clock)
    await farm.built(FAILURE)
    await farm.built(SUCCESS)
    assert farm.teller.sent == [(1, FAILURE), (3, SUCCESS)]
    await farm.stop()
    assert farm.clock.getDelayedCalls() == [] or all(not call.active() for call in farm.clock.getDelayedCalls())
