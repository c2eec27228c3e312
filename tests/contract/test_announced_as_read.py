"""The announced messages equal a later read, whether or not the database returned the written rows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.building import STAMP
from tests.support.events import all_keys


@pytest.fixture(params=["as it is", "as MySQL"])
def any_state(state: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The state layer; on MariaDB also so that INSERT gives no rows back, which MySQL's cannot."""
    dialect = state.db.dialect
    if request.param == "as MySQL" and dialect.name == "mariadb":
        monkeypatch.setattr(state.db.pool.engine.dialect, "insert_returning", False)
        monkeypatch.setattr(dialect, "returns_inserted", False)
        monkeypatch.setattr(dialect, "name", "mysql")
    return state


async def test_announced_as_read(any_state: Any) -> None:
    """A change, a buildset, a build with a step and a log: each message has all fields, as a later GET has them."""
    update = any_state.data.update
    (listener,) = await all_keys(any_state, 3)
    changeid = await update.addChange(author="a", revision="r1", branch="main", files=["x"], properties={"p": 1})
    again = await update.addChange(author="b", revision="r1", branch="main")
    bsid, brids = await update.addBuildset(
        sourcestamps=[STAMP, {"codebase": "b"}], builderNames=["one", "two"], properties={"q": (2, "test")}
    )
    other, _ = await update.addBuildset(sourcestamps=[STAMP], builderNames=["one"])
    await update.claimBuildRequests([brids["one"]])
    buildid = await update.newBuild(brids["one"])
    step = await update.newStep(buildid, "compile")
    logid = await update.newLog(step["stepid"], "stdio", "s")
    await listener.until(await any_state.data.clock())
    latest = dict(listener.heard)
    for path, event in [
        (("changes", changeid), "new"),
        (("changes", again), "new"),
        (("buildsets", bsid), "new"),
        (("buildsets", other), "new"),
        (("buildrequests", brids["two"]), "new"),
        (("buildrequests", brids["one"]), "claimed"),
        (("builds", buildid), "new"),
        (("steps", step["stepid"]), "new"),
        (("logs", logid), "new"),
    ]:
        message = latest[path[0], str(path[1]), event]
        found = await any_state.data.get({}, path)
        common = set(message) & set(found)
        if (path[0], event) == ("buildsets", "new"):
            common.remove("results")  # none yet, to those who hear of it
        assert {name: message[name] for name in common} == {name: found[name] for name in common}
        assert len(common) > 5


async def test_claims_as_read(any_state: Any) -> None:
    """Requests that are claimed and completed together, of which some databases tell only what they were before."""
    update = any_state.data.update
    builders = ["one", "two", "three"]
    _, brids = await update.addBuildset(sourcestamps=[STAMP], builderNames=builders, reason="r", priority=5)
    ids = list(brids.values())
    (listener,) = await all_keys(any_state, 3)
    for event, call in (("claimed", update.claimBuildRequests), ("complete", update.completeBuildRequests)):
        await (call(ids, 4) if event == "complete" else call(ids))
        await listener.until(await any_state.data.clock())
        latest = dict(listener.heard)
        for brid in ids:
            found = await any_state.data.get({}, ("buildrequests", brid))
            message = latest["buildrequests", str(brid), event]
            assert message == {name: found[name] for name in message}
            assert (found["claimed"], found["complete"], found["priority"]) == (True, event == "complete", 5)
