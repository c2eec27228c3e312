"""Two write the same thing at once: what one looked for is there when it writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import gatherResults
from twisted.internet.threads import blockingCallFromThread

from buildbot.db import build_data, builds, logs, schedulers, steps, users
from buildbot.db.engine import names
from buildbot.db.exceptions import TakenMeanwhileError
from buildbot.mq import connector
from tests.support.building import add_build
from tests.support.events import Listener, logged_after
from tests.support.reactor import reactor


class Between:
    """A statement before whose first run another transaction commits."""

    def __init__(self, statement: Any, other: Callable[[], Any]) -> None:
        self._statement = statement
        self._other: Callable[[], Any] | None = other

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._statement, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            other, self._other = self._other, None
            if other is not None:
                blockingCallFromThread(reactor, other)
            return method(*args, **kwargs)

        return run


@pytest.fixture
def locks_rows(state: Any) -> None:
    """A database on which two write at once."""
    if not state.db.dialect.locks_rows:
        pytest.skip("has one writer at a time")


@pytest.mark.usefixtures("locks_rows")
class TestBetween:
    """Another one writes between the look and the write."""

    async def test_classify(self, state: Any, second_master: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two masters classify one change at once: both succeed, and the later one's word stands."""
        objectid = await state.db.state.getObjectId("nightly", "Nightly")
        changeid = await state.db.changes.addChange(branch="main")

        def other() -> Any:
            return second_master.db.schedulers.classifyChanges(objectid, {changeid: False})

        monkeypatch.setattr(schedulers, "_classify", Between(schedulers._classify, other))
        assert await state.db.schedulers.classifyChanges(objectid, {changeid: True}) is None
        assert await state.db.schedulers.getChangeClassifications(objectid) == {changeid: True}

    async def test_build_data(self, state: Any, second_master: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Build data of one name: the later value stands."""
        buildid, _ = await add_build(state)

        def other() -> Any:
            return second_master.db.build_data.setBuildData(buildid, "core", b"theirs", "s")

        monkeypatch.setattr(build_data, "_add", Between(build_data._add, other))
        await state.db.build_data.setBuildData(buildid, "core", b"mine", "s")
        assert await state.db.build_data.getBuildDataValue(buildid, "core") == b"mine"

    async def test_properties(self, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A property of a build: the later value stands, and both are announced."""
        buildid, _ = await add_build(state)
        before = await state.data.clock()

        def other() -> Any:
            return state.data.update.setBuildProperties(buildid, {"p": (1, "theirs")})

        monkeypatch.setattr(builds, "_add_property", Between(builds._add_property, other))
        await state.data.update.setBuildProperties(buildid, {"p": (2, "mine")})
        assert await state.db.builds.getBuildProperties(buildid) == {"p": (2, "mine")}
        assert len(await logged_after(state, before)) == 2

    async def test_steps(self, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Steps of one name: each has a number and a name of its own."""
        buildid, _ = await add_build(state)
        theirs: list[Any] = []

        def other() -> Any:
            return state.data.update.newStep(buildid, "compile").addCallback(theirs.append)

        monkeypatch.setattr(steps, "_add", Between(steps._add, other))
        mine = await state.data.update.newStep(buildid, "compile")
        assert [(step["number"], step["name"]) for step in (*theirs, mine)] == [(0, "compile"), (1, "compile_1")]

    async def test_logs(self, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Logs of one name: each has a slug of its own."""
        buildid, _ = await add_build(state)
        stepid = (await state.data.update.newStep(buildid, "compile"))["stepid"]

        def other() -> Any:
            return state.data.update.newLog(stepid, "stdio", "s")

        monkeypatch.setattr(logs, "_add", Between(logs._add, other))
        await state.data.update.newLog(stepid, "stdio", "s")
        found = await state.data.get({}, ("steps", stepid, "logs"))
        assert [log["slug"] for log in found] == ["stdio", "stdio_2"]

    async def test_user_attribute(self, state: Any, second_master: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """An attribute that another user is given: a ValueError that names that user, as when it had it before."""
        mine, theirs = [await state.db.users.findUserByAttr(name, "email", name) for name in ("al", "bo")]

        def other() -> Any:
            return second_master.db.users.updateUser(theirs, attr_type="email", attr_data="new")

        monkeypatch.setattr(users, "_change_attribute", Between(users._change_attribute, other))
        with pytest.raises(ValueError, match=f"attr_data: user {theirs} has email 'new'"):
            await state.db.users.updateUser(mine, attr_type="email", attr_data="new")

    async def test_persistent_consumer(self, state: Any, second_master: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A consumer's name that two processes use for the first time: both listen."""

        def other() -> Any:
            return second_master.mq.startConsuming(lambda key, message: None, ("changes",), persistent_name="x")

        monkeypatch.setattr(connector, "_add_cursor", Between(connector._add_cursor, other))
        await (await state.mq.startConsuming(Listener(), ("changes",), persistent_name="x")).stopConsuming()

    @pytest.mark.parametrize("many", [False, True])
    async def test_made_once(self, state: Any, second_master: Any, monkeypatch: pytest.MonkeyPatch, many: bool) -> None:
        """What is made on first use of a name is announced once, by who made it."""
        before = await state.data.clock()

        def use(master: Any) -> Any:
            if many:
                return master.data.update.addBuildset(sourcestamps=[], builderNames=["linux", "windows"])
            return master.data.update.findWorkerId("w1")

        from buildbot.db import builders, workers

        table: names.NamedRows = builders._names if many else workers._names
        monkeypatch.setattr(table, "_insert", Between(table._insert, lambda: use(second_master)))
        await use(state)
        keys = [keys[0] for keys in await logged_after(state, before)]
        made = [key for key in keys if key.startswith(("builders/", "workers/"))]
        assert len(made) == len(set(made)) == (2 if many else 1)

    async def test_not_for_ever(self, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that is taken each time is an error in the end, with the database's as its cause."""
        objectid = await state.db.state.getObjectId("nightly", "Nightly")
        changeid = await state.db.changes.addChange(branch="main")
        await state.db.schedulers.classifyChanges(objectid, {changeid: False})

        class Nothing:
            def run(self, conn: Any, **parameters: Any) -> None:
                """Remove nothing."""

        monkeypatch.setattr(schedulers, "_unclassify", Nothing())
        with pytest.raises(TakenMeanwhileError) as raised:
            await state.db.schedulers.classifyChanges(objectid, {changeid: True})
        assert "unique" in str(raised.value) and raised.value.__cause__ is not None


async def test_together(state: Any, second_master: Any) -> None:
    """Many calls of two masters for the same change, step and names, all at once: none fails."""
    objectid = await state.db.state.getObjectId("nightly", "Nightly")
    changeids = [await state.db.changes.addChange(branch="main") for _ in range(3)]
    buildid, _ = await add_build(state)
    calls: list[Any] = []
    for n in range(10):
        for master in (state, second_master):
            calls.append(master.db.schedulers.classifyChanges(objectid, dict.fromkeys(changeids, n % 2 == 0)))
            calls.append(master.db.build_data.setBuildData(buildid, "core", b"x", "s"))
            calls.append(master.data.update.findWorkerId(f"w{n // 2}"))
        calls.append(state.data.update.newStep(buildid, "compile"))
    await gatherResults(calls)
    steps_ = await state.data.get({}, ("builds", buildid, "steps"))
    assert [step["number"] for step in steps_] == list(range(10))


async def test_unknown_stays_unknown(state: Any) -> None:
    """A reference to what does not exist is still a ValueError that names it."""
    objectid = await state.db.state.getObjectId("nightly", "Nightly")
    changeid = await state.db.changes.addChange(branch="main")
    with pytest.raises(ValueError, match="classifications: no object"):
        await state.db.schedulers.classifyChanges(objectid, {changeid: True, 2**40: True})
    with pytest.raises(ValueError, match="buildid: there is no build"):
        await state.db.build_data.setBuildData(2**40, "core", b"x", "s")
    with pytest.raises(ValueError, match="changeids"):
        await state.db.sourcestamps.addSourceStamp("main", "r", "", "", changeids=[2**40])
    assert await state.db.sourcestamps.addSourceStamp("main", "r", "", "", changeids=[changeid, changeid])
