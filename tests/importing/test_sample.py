"""The import of a real database of Buildbot 4.3 with known values, into each kind of database."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from buildbot.changes.gitpoller import GitPoller
from buildbot.data.exceptions import SinceTooOldError
from buildbot.master import openMaster
from buildbot.resources import metadata
from buildbot.resources.logs import LogDict
from buildbot.util.passwords import check_passwd
from buildbot.util.results import RETRY, SUCCESS
from tests.importing.support import NOW, Imported, contents, source_rows, tables_of_readme
from tests.support.reactor import run

README = tables_of_readme()
T = metadata.tables
RESULTS = dict(
    zip(("SUCCESS", "WARNINGS", "FAILURE", "SKIPPED", "EXCEPTION", "RETRY", "CANCELLED"), range(7), strict=True)
)

#: tables of theirs whose rows are rows of ours, under another name where one is given
SAME = {
    "build_data": "", "build_properties": "", "builders": "", "buildrequests": "", "builds": "", "buildsets": "",
    "buildset_sourcestamps": "sourcestampset_members", "change_users": "", "changes": "", "changesources": "",
    "codebase_branches": "branches", "codebase_commits": "commits", "codebases": "", "logs": "", "masters": "",
    "patches": "", "projects": "", "scheduler_changes": "", "schedulers": "", "sourcestamps": "", "steps": "",
    "test_code_paths": "", "test_names": "", "test_result_sets": "", "test_results": "", "users": "", "users_info": "",
    "workers": "",
}  # fmt: skip
#: what becomes part of other rows, another number of rows, or nothing (what belongs to a running process)
OTHERWISE = {
    "alembic_version", "builder_masters", "builders_tags", "buildrequest_claims", "buildset_properties", "change_files",
    "change_properties", "changesource_masters", "configured_workers", "connected_workers", "logchunks", "object_state",
    "objects", "scheduler_masters", "tags",
}  # fmt: skip


@pytest.fixture
def found(sample_imported: Imported) -> dict[str, list[tuple[Any, ...]]]:
    """All rows."""
    return contents(sample_imported.url)


@asynccontextmanager
async def opened(database: Imported) -> AsyncIterator[Any]:
    """The state layer of a master that never ran."""
    master = await openMaster(database.url, "host:/new")
    try:
        yield master
    finally:
        await master.close()


def test_nothing_is_left_out(sample_imported: Imported) -> None:
    """No row is left out, and tables that are not imported on purpose are reported."""
    assert sample_imported.report.left_out == []
    notes = "\n".join(sample_imported.report.notes)
    assert "session_secret" in notes and "connected_workers" in notes


def test_rows(found: dict[str, list[tuple[Any, ...]]]) -> None:
    """Each table has the number of rows in the README, which has all tables."""
    counts = {name: int(count) for name, count in README["Rows"]}
    assert set(counts) == set(SAME) | OTHERWISE
    assert {name: len(found[ours or name]) for name, ours in SAME.items()} == {name: counts[name] for name in SAME}


def test_results(sample_imported: Imported) -> None:
    """Builds, requests and buildsets have the results of the README; the running build ended with RETRY."""
    engine = sample_imported.engine
    expected: Counter[tuple[str, int]] = Counter()
    for what, results, _, rows in README["Results"]:
        name = results.split(" ")[0]
        code = RESULTS.get(name, RETRY if what == "builds" else -1)
        expected[what, code] += int(rows)
    with engine.connect() as conn:
        counted = {
            (name, code): count
            for name in ("builds", "buildrequests", "buildsets")
            for code, count in conn.execute(
                select(T[name].c.results, func.count()).group_by(T[name].c.results)
            )
        }  # fmt: skip
    engine.dispose()
    assert counted == dict(expected)


async def test_logs(sample_imported: Imported) -> None:
    """Each log has its text, number of lines, name and slug, with any compression."""
    async with opened(sample_imported) as master:
        for number, stepid, name, slug, kind, lines, _, _, _, size, digest in README["Logs"]:
            log = await master.data.get({}, ("logs", int(number)))
            assert {key: log[key] for key in LogDict.__annotations__} == {
                "logid": int(number), "name": name, "slug": slug, "stepid": int(stepid), "complete": True,
                "num_lines": int(lines), "type": kind,
            }  # fmt: skip
            content = (await master.data.get({}, ("logs", int(number), "contents")))["content"].encode()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (int(size), digest), number


async def test_particular_rows(sample_imported: Imported, sample: Path) -> None:
    """The rows that the README describes."""
    async with opened(sample_imported) as master:
        get = master.data.get
        rebuilt = [(await get({}, ("buildsets", bsid)))["rebuilt_buildid"] for bsid in (24, 25)]
        assert rebuilt == [3, 1]
        triggered = await get({}, ("buildsets", 16))
        assert (triggered["parent_buildid"], triggered["parent_relationship"]) == (9, "Triggered from")
        running = await get({}, ("builds", 48))
        assert (running["complete"], running["results"], running["complete_at"]) == (True, RETRY, NOW)
        assert (await get({}, ("builds", 43)))["results"] == RETRY
        steps = await get({}, ("builds", 48, "steps"))
        assert [step["complete"] for step in steps] == [True] * 6 and steps[-1]["results"] == RETRY
        waiting = await get({"filters": {"complete": False}}, ("buildrequests",))
        assert [(each["buildrequestid"], each["claimed"]) for each in waiting] == [
            (54, False),
            (55, False),
            (56, False),
        ]
        skipped = await get({"filters": {"results": [3, 6]}, "order": ["buildrequestid"]}, ("buildrequests",))
        assert [each["buildrequestid"] for each in skipped] == [1, 5, 6, 7, 9, 13, 23, 25, 50]
        stamp = await get({}, ("sourcestamps", 12))
        assert hashlib.sha256(stamp["patch"]["body"].encode()).hexdigest() == (
            "f7e17034a233c8e9e8a9cd33dbfe86f002d5764f8c08a855c80204f6c65f78d6"
        )
        workers = {each["name"]: each for each in await get({}, ("workers",))}
        assert workers["wk-alpha"]["paused"] and workers["wk-alpha"]["pause_reason"] == "disk is being replaced"
        assert workers["wk-beta"]["workerinfo"]["host"] == "invented machine beta\n"
        schedulers = {each["name"]: each["enabled"] for each in await get({}, ("schedulers",))}
        assert [name for name, enabled in schedulers.items() if not enabled] == ["slow"]
        assert len((await get({}, ("buildsets", 52)))["sourcestamps"]) == 2
        ((buildid,),) = source_rows(sample, "SELECT buildid FROM build_data WHERE name = 'blob' LIMIT 1")
        assert await master.db.build_data.getBuildDataValue(buildid, "blob") == bytes(range(256))
        assert json.loads(await master.db.build_data.getBuildDataValue(buildid, "coverage")) == {"lines": 81.5}
        sets = [await get({}, ("test_result_sets", number)) for number in (1, 2)]
        assert (sets[0]["tests_passed"], sets[0]["tests_failed"], sets[1]["value_unit"]) == (11, 1, "message")
        results = await get({}, ("test_result_sets", 1, "results"))
        assert {each["test_name"] for each in results} == {f"widget.test_{n}" for n in range(12)}
        builder = await get({}, ("builders", 3))
        assert (builder["name"], builder["tags"], builder["projectid"]) == ("build linux", ["compile", "linux"], 1)
        change = await get({}, ("changes", 9))
        assert (change["parent_changeids"], change["comments"]) == ([8], "commit 5")
        assert (await get({}, ("projects", 1)))["slug"] == "wid"
        assert [each["revision"][:4] for each in await get({}, ("codebases", 1, "commits"))] == ["7d17", "52f0"]
        assert (await get({}, ("masters", 1)))["name"] == "ci.example.org:/srv/ci"


async def test_every_property(sample_imported: Imported, sample: Path) -> None:
    """Builds, buildsets and changes have each property with value and source."""
    expected: dict[int, dict[str, Any]] = {}
    for buildid, name, value, source in source_rows(
        sample, "SELECT buildid, name, value, source FROM build_properties"
    ):
        expected.setdefault(buildid, {})[name] = (json.loads(value), source)
    async with opened(sample_imported) as master:
        for buildid, properties in expected.items():
            assert await master.db.builds.getBuildProperties(buildid) == properties
        for bsid, name, value in source_rows(sample, "SELECT * FROM buildset_properties"):
            assert list((await master.db.buildsets.getBuildsetProperties(bsid))[name]) == json.loads(value)
        for changeid, name, value in source_rows(sample, "SELECT * FROM change_properties"):
            change = await master.db.changes.getChange(changeid)
            assert list(change["properties"][name]) == json.loads(value)
        for (changeid,) in source_rows(sample, "SELECT changeid FROM changes"):
            files = source_rows(sample, f"SELECT filename FROM change_files WHERE changeid = {changeid}")
            assert sorted((await master.db.changes.getChange(changeid))["files"]) == sorted(f for (f,) in files)


async def test_users(sample_imported: Imported) -> None:
    """Users have their attributes, and a login with their old password."""
    async with opened(sample_imported) as master:
        hopper = await master.db.users.getUserByUsername("gh")
        assert (hopper["uid"], hopper["svn"], hopper["email"]) == (4, "hopper", "hopper@example.org")
        assert check_passwd("secretpw", hopper["bb_password"]) and not check_passwd("secret", hopper["bb_password"])
        assert await master.db.changes.getChangeUids(1) == [1]
        # a user that is known is found again
        assert await master.db.users.findUserByAttr("x", "git", "Ada Example <ada@example.org>") == 3


async def test_schedulers_and_pollers_go_on(sample_imported: Imported) -> None:
    """The states of schedulers and pollers continue at Buildbot's positions."""
    async with opened(sample_imported) as master:
        poller = GitPoller("file:///srv/git/widget", branches=["main"])
        poller.master = master
        seen = await poller._GitPoller__load()  # type: ignore[attr-defined]
        assert seen is not None
        assert seen.heads == {"refs/heads/main": "52f0502bad963b08014b52e856f4f44f7b7ec257"}
        _, clock = await master.data.snapshot({}, ("changes",))
        state = master.db.state
        for name, kind, waiting in (
            ("slow", "SingleBranchScheduler", {1: True, 2: True, 4: False}),
            ("night", "Nightly", dict.fromkeys(range(1, 10), True)),
            ("multi", "AnyBranchScheduler", {}),
            ("quick", "SingleBranchScheduler", {4: False}),
        ):
            objectid = await state.getObjectId(name, kind)
            feed = await state.getState(objectid, "feed")
            assert feed == {"clock": feed["clock"], "changeid": 9, "enabled": name != "slow", "last": None}
            assert feed["clock"] <= clock
            assert await master.db.schedulers.getChangeClassifications(objectid) == waiting
        # what is nobody's of ours is kept as it is
        objectid = await state.getObjectId("slow", "buildbot.schedulers.basic.SingleBranchScheduler")
        assert await state.getState(objectid, "sample") == {"k": [1, None, "ü"]}
        objectid = await state.getObjectId("www", "buildbot.www.service.WWWService")
        assert await state.getState(objectid, "session_secret", None) is None


async def test_who_followed_before_fetches_anew(sample_imported: Imported) -> None:
    """A position from before the import is too old; a later one is not."""
    async with opened(sample_imported) as master:
        with pytest.raises(SinceTooOldError):
            await master.data.subscribe([("changes", None, "new")], lambda *heard: None, 0)
        _, clock = await master.data.snapshot({}, ("changes",))
        subscription = await master.data.subscribe([("changes", None, "new")], lambda *heard: None, clock)
        subscription.stopConsuming()


def test_the_next_numbers_follow(sample: Path, sample_imported: Imported) -> None:
    """New rows get ids after the imported ones; equal code has its old source stamp."""
    run(_add_to(sample_imported))


async def _add_to(database: Imported) -> None:
    async with opened(database) as master:
        update = master.data.update
        assert await update.addChange(author="Eve <eve@example.org>", revision="new", branch="main") == 10
        change = await master.data.get({}, ("changes", 10))
        assert change["sourcestamp"]["ssid"] == 15
        await update.masterActive()
        bsid, brids = await update.addBuildset(
            reason="go on", builderNames=["build linux"], sourcestamps=[
                {"branch": "main", "revision": None, "repository": "file:///srv/git/widget", "codebase": "widget",
                 "project": ""}
            ],
        )  # fmt: skip
        assert (bsid, brids) == (55, {"build linux": 57})
        assert [stamp["ssid"] for stamp in (await master.data.get({}, ("buildsets", 55)))["sourcestamps"]] == [5]
        # the request whose build was lost is built again, under the next number
        assert await update.claimBuildRequests([54])
        buildid = await update.newBuild(54)
        build = await master.data.get({}, ("builds", buildid))
        assert (build["buildid"], build["number"]) == (49, 17)
        step = await update.newStep(buildid, "echo")
        assert step["stepid"] == 380
        assert await update.newLog(step["stepid"], "stdio", "s") == 152
        await update.finishBuild(buildid, SUCCESS)
        await update.completeBuildRequests([54], SUCCESS)
        assert (await master.data.get({}, ("buildsets", 52)))["results"] == SUCCESS
        await update.masterStopped()
