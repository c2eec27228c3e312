"""Batches of updates: what happens together is one transaction, with the events of each, in their order."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.data.base import Link
from buildbot.db.exceptions import AlreadyClaimedError, NotClaimedError
from buildbot.steps.shell import ShellCommand
from buildbot.test.steps import StepHarness
from buildbot.util.results import FAILURE, SUCCESS
from tests.support.building import add_build, add_request, run_build
from tests.support.events import announced_after, logged_after
from tests.support.refusals import unchanged


def transactions(state: Any) -> int:
    """How many transactions that may write were made."""
    return next(int(family.values[()]) for family in state.db.pool.metrics() if family.name == "commit_groups")


async def test_one_transaction(state: Any) -> None:
    """A batch is one transaction, however many calls it has; each gives what it gives alone, and announces the same
    events in the order of the calls.
    """
    buildid, brid = await add_build(state)
    batch = state.data.update.batch()
    first, groups = await state.data.clock(), transactions(state)
    step = batch.newStep(buildid, "compile")
    batch.startStep(batch.result(step, "stepid"))
    log = batch.newLog(batch.result(step, "stepid"), "stdio", "s")
    lines = batch.appendLog(batch.result(log), "ohello\noworld\n")
    batch.finishLog(batch.result(log))
    batch.setBuildProperties(buildid, {"p": (1, "Step")})
    batch.setStepStateString(batch.result(step, "stepid"), "done")
    batch.finishStep(batch.result(step, "stepid"), SUCCESS, True)
    batch.finishBuild(buildid, SUCCESS)
    batch.completeBuildRequests([brid], SUCCESS)
    assert len(batch) == 10
    await batch.send()
    assert transactions(state) == groups + 1 and len(batch) == 0
    row, logid = await step, await log
    assert (row["name"], row["number"], await lines) == ("compile", 0, (0, 1))
    stored = await state.data.get({}, ("steps", row["stepid"]))
    assert (stored["state_string"], stored["results"], stored["hidden"], stored["complete"]) == ("done", 0, True, True)
    assert (await state.data.get({}, ("logs", logid, "contents")))["content"] == "ohello\noworld\n"
    names = [keys[0].rpartition("/")[0].partition("/")[0] + " " + keys[0].rpartition("/")[2]
             for keys in await logged_after(state, first)]  # fmt: skip
    assert names == [
        "steps new", "steps started", "logs new", "logs append", "logs finished", "builds update", "steps updated",
        "steps finished", "builds finished", "buildrequests complete", "buildsets complete",
    ]  # fmt: skip


def alike(row: dict[str, Any]) -> dict[str, Any]:
    """A step or log without ids and links, and with times as "there is one": the same for two that are alike."""
    kept = {name: value for name, value in row.items() if not name.endswith("id") and not isinstance(value, Link)}
    return {name: value is not None if name.endswith("_at") else value for name, value in kept.items()}


async def test_several_in_one(state: Any) -> None:
    """Methods that do at once what others do one after the other store and announce the same."""
    buildid, _ = await add_build(state)
    update = state.data.update

    async def rows(stepid: int) -> list[Any]:
        found = [await state.data.get({}, ("steps", stepid)), *await state.data.get({}, ("steps", stepid, "logs"))]
        text = "".join([(await state.data.get({}, ("logs", log["logid"], "contents")))["content"] for log in found[1:]])
        return [[alike(row) for row in found], text]

    async def told(first: int) -> list[Any]:
        return [
            (keys[0].split("/")[0], keys[0].split("/")[-1], alike(message))
            for keys, message in await announced_after(state, first)
        ]

    first = await state.data.clock()
    stepid = (await update.newStep(buildid, "compile"))["stepid"]
    await update.startStep(stepid)
    one, other = await update.newLog(stepid, "stdio", "s"), await update.newLog(stepid, "notes", "t")
    await update.appendLog(one, "oa\n")
    await update.appendLog(one, "ob\noc\n")
    await update.finishLog(one)
    await update.finishLog(other)
    third = await update.newLog(stepid, "notes", "t")
    await update.appendLog(third, "d\n")
    await update.finishLog(third)
    await update.setStepStateString(stepid, "compiled")
    await update.finishStep(stepid, SUCCESS)
    singly = await rows(stepid), await told(first)

    buildid, _ = await add_build(state)
    first = await state.data.clock()
    step = await update.newStartedStep(buildid, "compile")
    one, other = await update.newLog(step["stepid"], "stdio", "s"), await update.newLog(step["stepid"], "notes", "t")
    await update.appendLog(one, "oa\n")
    await update.finishLog(one, "ob\noc\n")
    await update.finishLog(other)
    await update.newCompleteLog(step["stepid"], "notes", "t", "d\n")
    await update.finishStep(step["stepid"], SUCCESS, state_string="compiled")
    assert step == {"stepid": step["stepid"], "number": 0, "name": "compile"}
    together = await rows(step["stepid"]), await told(first)
    assert together == singly


#: stands for the result of the first call of a moment
FIRST = object()


async def _store(state: Any, together: bool, *calls: tuple[Any, ...]) -> Any:
    """Calls of update methods, as one batch or one by one; gives the result of the first."""
    update = state.data.update.batch() if together else state.data.update
    made: list[Any] = []
    for name, *args in calls:
        args = [(update.result(made[0]) if together else made[0]) if each is FIRST else each for each in args]
        call = getattr(update, name)(*args)
        made.append(call if together else await call)
    if together:
        await update.send()
    return await made[0] if together else made[0]


async def _life(state: Any, together: bool) -> tuple[list[Any], list[Any]]:
    """What a build whose states change often has stored and announced at its end."""
    brid = await add_request(state)
    await state.data.update.claimBuildRequests([brid])
    first = await state.data.clock()
    buildid = await _store(
        state,
        together,
        ("newBuild", brid),
        ("newStartedStep", FIRST, "prepare"),
        ("setBuildStateString", FIRST, "preparing"),
    )
    stepid = (await state.data.get({}, ("builds", buildid, "steps")))[0]["stepid"]
    await _store(
        state,
        together,
        ("setBuildProperties", buildid, {"p": (1, "Build")}),
        ("setBuildStateString", buildid, "pinging"),
        ("setStepStateString", stepid, "begins"),
        ("newCompleteLog", stepid, "notes", "t", "d\n"),
        ("finishStep", stepid, SUCCESS, True, "ready"),
        ("setBuildStateString", buildid, "building"),
    )
    await _store(state, together, ("setBuildStateString", buildid, "done"), ("endBuild", buildid, brid, SUCCESS))
    paths = ("builds", buildid), ("steps", stepid), ("buildrequests", brid)
    told = [
        (keys[0].split("/")[0], keys[0].split("/")[-1], alike(message))
        for keys, message in await announced_after(state, first)
    ]
    return [alike(await state.data.get({}, path)) for path in paths], told


async def test_states_that_change_again(state: Any) -> None:
    """State strings that a batch sets again are announced as if they were stored; the statements for them are saved."""
    pool = state.db.pool
    before = pool.statements
    one = await _life(state, False)
    between = pool.statements
    other = await _life(state, True)
    after = pool.statements
    for row in (*one[0], *other[0], *(message for _, _, message in one[1] + other[1])):
        row.pop("number", None)
    assert other == one
    assert after - between <= between - before - 4
    texts = [message["state_string"] for noun, _, message in other[1] if noun == "builds" and "state_string" in message]
    assert texts == ["created", "preparing", "pinging", "building", "done", "done"]


async def test_links_of_a_step_that_ends(state: Any) -> None:
    """A state string is stored if another change of the row comes before the next one."""
    running = await run_build(state)
    first = await state.data.clock()
    batch = state.data.update.batch()
    batch.setStepStateString(running.stepid, "begins")
    batch.addStepURL(running.stepid, "report", "http://localhost/")
    batch.finishStep(running.stepid, SUCCESS, False, "done")
    await batch.send()
    told = [(message["state_string"], message["complete"]) for _, message in await announced_after(state, first)]
    assert told == [("begins", False), ("begins", False), ("done", False), ("done", True)]


async def test_a_step_that_ends_twice(state: Any) -> None:
    """The calls take effect in their order, also where a state string and two ends are in one batch."""
    running = await run_build(state)
    batch = state.data.update.batch()
    batch.setStepStateString(running.stepid, "begins")
    batch.finishStep(running.stepid, SUCCESS)
    batch.finishStep(running.stepid, FAILURE, True, "done")
    await batch.send()
    step = await state.data.get({}, ("steps", running.stepid))
    assert (step["results"], step["hidden"], step["state_string"]) == (FAILURE, True, "done")


async def test_all_or_nothing(state: Any) -> None:
    """If a call fails, ``send`` fails with what it raised, and nothing of the batch is stored or announced."""
    buildid, _ = await add_build(state)
    async with unchanged(state):
        batch = state.data.update.batch()
        step = batch.newStep(buildid, "compile")
        batch.setStepStateString(batch.result(step, "stepid"), b"no text")
        with pytest.raises(TypeError, match="state_string"):
            await batch.send()


async def test_fences(state: Any) -> None:
    """The claim is checked in the same transaction: who lost it stores nothing of the batch."""
    running = await run_build(state)
    await state.data.update.unclaimBuildRequests([running.brid])
    async with unchanged(state):
        batch = state.data.update.batch()
        batch.addBuildset(sourcestamps=[{}], builderNames=["linux"])
        batch.finishStep(running.stepid, SUCCESS)
        with pytest.raises(NotClaimedError):
            await batch.send()


async def test_lost_claim(state: Any, second_master: Any) -> None:
    """A batch whose claim is lost stores nothing; its other calls fail as the claim does."""
    brid = await add_request(state)
    await second_master.data.update.claimBuildRequests([brid])
    async with unchanged(state):
        batch = state.data.update.batch()
        change = batch.addChange(author="al", revision="r1", project="p")
        claimed = batch.claimBuildRequests([brid])
        with pytest.raises(AlreadyClaimedError):
            await batch.send()
    assert await claimed is False
    assert not change.result


async def test_an_empty_batch(state: Any) -> None:
    """It is stored at once; a batch can be filled again after it was sent, and what it gave before is no result."""
    batch = state.data.update.batch()
    groups = transactions(state)
    await batch.send()
    assert transactions(state) == groups
    brid = await add_request(state)
    claimed = batch.claimBuildRequests([brid])
    await batch.send()
    assert await claimed
    build = batch.newBuild(brid)
    await batch.send()
    assert (await state.data.get({}, ("builds", await build)))["buildrequestid"] == brid
    with pytest.raises(ValueError, match="call"):
        batch.result(build)


def script(name: str, args: dict[str, Any]) -> Any:
    """What the agent answers to a command: 200 lines."""
    return ([("stdout", "".join(f"line {number}\n" for number in range(200)))], 0)


async def test_transactions_of_a_build(state: Any) -> None:
    """A build of five steps that print takes at most 9 transactions from its claim to its end."""
    steps = [ShellCommand(name=f"step{number}", command=["make"]) for number in range(5)]
    farm = StepHarness(*steps, script=script, state=state)
    await farm.start()
    request = await farm.master.add_request("b")
    groups = transactions(state)
    await farm.builder.start_build(request, farm.manager.workers["w"])
    await farm.ended()
    taken = transactions(state) - groups + 1  # the claim
    (build,) = await state.data.get({}, ("builds",))
    found = await state.data.get({}, ("builds", build["buildid"], "steps"))
    assert [step["results"] for step in found] == [SUCCESS] * 6 and build["state_string"] == "build successful"
    for step in found[1:]:
        (log,) = await state.data.get({}, ("steps", step["stepid"], "logs"))
        assert log["complete"] and log["num_lines"] >= 200
    await farm.manager.stop()
    assert taken <= 9, taken
