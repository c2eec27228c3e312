"""What steps write while they run, on each database: in order, once, and complete."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred, gatherResults

from buildbot.db import steps
from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.process.logobserver import LogLineObserver
from buildbot.steps.shell import ShellCommand
from buildbot.test.running import until
from buildbot.test.steps import StepHarness
from buildbot.util.results import EXCEPTION, SUCCESS
from tests.contract.test_taken_meanwhile import Between
from tests.support.building import run_build
from tests.support.events import announced_after
from tests.support.steps import Own

#: how many other sessions of this database run a statement that locks rows
_LOCKING_ON_POSTGRESQL = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND state = 'active' AND query LIKE '%FOR UPDATE%'"
)
_LOCKING_ON_MYSQL = (
    "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    " AND info LIKE '%FOR UPDATE%'"
)


async def built(state: Any, *steps: Any) -> tuple[list[dict[str, Any]], int]:
    """The rows of the steps, after they have run in a build, and the number of the last event before it."""
    farm = StepHarness(*steps, state=state)
    await farm.start()
    first = await state.data.clock()
    request = await farm.master.add_request("b")
    await farm.builder.start_build(request, farm.manager.workers["w"])
    await farm.ended()
    await farm.manager.stop()
    (build,) = await state.data.get({}, ("builds",))
    rows: list[dict[str, Any]] = await state.data.get({}, ("builds", build["buildid"], "steps"))
    return rows[1:], first


async def logs_of(state: Any, step: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name and content of each log of a step, and whether it is complete."""
    return [
        (log["name"], (await state.data.get({}, ("logs", log["logid"], "contents")))["content"], log["complete"])
        for log in await state.data.get({}, ("steps", step["stepid"], "logs"))
    ]


async def test_order_of_calls(state: Any) -> None:
    """What a step does not wait for is written in the order of its calls, also while its first summary is stored."""

    async def work(step: Any) -> int:
        for number in range(5):
            step.addURL(f"link {number}", "http://there/")
            step.addCompleteLog(f"log {number}", "x\n")
            step.setBuildData("last", str(number).encode(), "own")
        return SUCCESS

    (row,), _ = await built(state, Own(work))
    assert [url["name"] for url in row["urls"]] == [f"link {number}" for number in range(5)]
    assert [name for name, _, _ in await logs_of(state, row)] == [f"log {number}" for number in range(5)]
    (build,) = await state.data.get({}, ("builds",))
    assert (await state.data.get({}, ("builds", build["buildid"], "data", "last", "value")))["value"] == b"4"


async def test_last_summary_stays(state: Any) -> None:
    """Summaries that nobody waits for are stored one after the other, the last one last; of many few are stored."""

    class Changing(BuildStep):
        shown = "first"

        def getCurrentSummary(self) -> dict[str, str]:
            return {"step": self.shown}

        async def run(self) -> int:
            for number in range(30):
                self.shown = f"at {number}"
                self.updateSummary()
            return SUCCESS

    (row,), first = await built(state, Changing())
    told = [
        message["state_string"]
        for key, message in await announced_after(state, first)
        if key[0] == f"steps/{row['stepid']}/updated"
    ]
    if state.db.dialect.in_memory:  # each is stored before the next one is asked for
        assert told == ["first", *(f"at {number}" for number in range(30)), "finished"]
    else:
        assert told == ["first", "at 0", "at 29", "finished"]


async def test_links_at_once(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two links that are added to a step at the same time are both there."""
    if not state.db.dialect.locks_rows:
        pytest.skip("has one writer at a time")
    running = await run_build(state)
    adding: list[Deferred[None]] = []

    def thd_locks(conn: Connection) -> bool:
        locking = _LOCKING_ON_POSTGRESQL if state.db.dialect.name == "postgresql" else _LOCKING_ON_MYSQL
        return bool(conn.execute(text(locking)).scalar())

    async def has_written_or_waits() -> bool:
        return adding[0].called or await state.db.pool.read(thd_locks)

    def other() -> Any:
        adding.append(state.data.update.addStepURL(running.stepid, "theirs", "http://there/"))
        return Deferred.fromCoroutine(until(has_written_or_waits))

    monkeypatch.setattr(steps, "_set_urls", Between(steps._set_urls, other))
    await state.data.update.addStepURL(running.stepid, "mine", "http://here/")
    await adding[0]
    row = await state.data.get({}, ("steps", running.stepid))
    assert [url["name"] for url in row["urls"]] == ["mine", "theirs"]


async def test_watched_files_at_once(state: Any) -> None:
    """Two commands that are made at once and watch one file share its log."""

    class Twice(ShellMixin, BuildStep):
        name = "twice"

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**self.setupShellMixin(kwargs))

        async def run(self) -> int:
            self.addURL("first", "http://there/")
            made = [self.makeRemoteShellCommand(command="x", logfiles={"file": "name"}) for _ in range(2)]
            await gatherResults([self.runCommand(command) for command in await gatherResults(made)])
            return SUCCESS

    (row,), _ = await built(state, Twice())
    assert row["results"] == SUCCESS
    logs = await logs_of(state, row)
    assert [(name, complete) for name, _, complete in logs] == [("stdio", True), ("file", True)]
    assert logs[0][1].count("ohello\n") == 2


async def test_logs_begun_at_the_end(state: Any) -> None:
    """Logs that observers, `hideStepIf` and `getResultSummary` add at a step's end are there once, and complete."""

    class Counting(LogLineObserver):
        lines = 0

        def outLineReceived(self, line: str) -> None:
            self.lines += 1

        def finishReceived(self) -> None:
            self.step.addCompleteLog("count", f"{self.lines}\n")

    class Telling(ShellCommand):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.addLogObserver("stdio", Counting())

        def getResultSummary(self) -> dict[str, str]:
            self.addCompleteLog("summary", "told\n")
            self.addLog("left open")
            self.addURL("late", "http://there/")
            return {"step": "told"}

    def hide(results: int, step: Any) -> bool:
        step.addCompleteLog("hide", "no\n")
        return False

    (row, _), first = await built(state, Telling(command="x", hideStepIf=hide), Own(lambda step: SUCCESS))
    assert (row["results"], row["state_string"]) == (SUCCESS, "told")
    assert [url["name"] for url in row["urls"]] == ["late"]
    assert sorted(await logs_of(state, row)) == [
        ("count", "1\n", True), ("hide", "no\n", True), ("left open", "", True),
        ("stdio", "ohello\nhprogram finished with exit code 0\n", True), ("summary", "told\n", True),
    ]  # fmt: skip
    of_step = [key[0] for key, message in await announced_after(state, first) if message.get("stepid") == row["stepid"]]
    assert of_step[-1] == f"steps/{row['stepid']}/finished"


async def test_logs_begun_after_an_error(state: Any) -> None:
    """So it is at the end of a step that has failed: its logs are complete before it has ended."""

    class Failing(BuildStep):
        name = "failing"
        asked = False

        async def run(self) -> int:
            raise ZeroDivisionError

        def getResultSummary(self) -> dict[str, str]:
            if not self.asked:  # the build asks once more
                self.addLog("left open").addCallback(lambda log: log.addStdout("late\n"))
                self.setBuildData("no/good", b"x", "own")
            self.asked = True
            return {"step": "told"}

    (row,), first = await built(state, Failing())
    logs = {name: (content, complete) for name, content, complete in await logs_of(state, row)}
    assert logs["left open"] == ("olate\n", True) and logs["err.text"][1]
    assert "ZeroDivisionError" in logs["err.text"][0] and "no/good" in logs["err.text"][0]
    assert (row["results"], row["complete"]) == (EXCEPTION, True)
    of_step = [key[0] for key, message in await announced_after(state, first) if message.get("stepid") == row["stepid"]]
    assert of_step[-1] == f"steps/{row['stepid']}/finished"


async def test_failed_calls_at_the_end(state: Any) -> None:
    """A failed call of an observer at the end of a log ends the step in EXCEPTION, and is explained."""

    class Wrong(LogLineObserver):
        def finishReceived(self) -> None:
            self.step.setBuildData("no/good", b"x", "own")

    class Observed(ShellCommand):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.addLogObserver("stdio", Wrong())

    (row,), _ = await built(state, Observed(command="x"))
    assert row["results"] == EXCEPTION and row["complete"]
    texts = {name: content for name, content, _ in await logs_of(state, row)}
    assert "no/good" in texts["err.text"]


@pytest.mark.parametrize(
    ("given", "stored"), [("x\ud800y", "x\ufffdy"), ("a\0b", "a\ufffdb"), ("\ud83d\ude42", "\U0001f642"), ("ü", "ü")]
)
async def test_what_no_database_stores(state: Any, given: str, stored: str) -> None:
    """U+0000 and lone surrogates in a log become U+FFFD; two halves of a character become that character."""
    running = await run_build(state, lines="")
    update = state.data.update
    await update.appendLog(running.logid, f"o{given}\n")
    await update.finishLog(running.logid, f"e{given}\n")
    whole = await update.newCompleteLog(running.stepid, "notes", "t", f"{given}\n")
    contents = [(await state.data.get({}, ("logs", each, "contents")))["content"] for each in (running.logid, whole)]
    assert contents == [f"o{stored}\ne{stored}\n", f"{stored}\n"]
