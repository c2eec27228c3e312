"""The common ancestor of two commits, against a plain computation in memory."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlalchemy.engine import Connection

from buildbot.data.commits import CommitRangeEndpoint
from buildbot.data.exceptions import InvalidOptionError
from buildbot.db import commits as commits_connector
from buildbot.db.engine.statements import Statement
from buildbot.resources.codebases import codebases
from buildbot.resources.commits import commits
from buildbot.resources.projects import projects
from buildbot.test.fake.fakedb import make_master
from tests.contract.test_projects import add_codebase, add_commits
from tests.support.building import add_build
from tests.support.samples import NOBODY


def graph(parents: list[int | None], one: int, two: int) -> dict[str, Any] | None:
    """As the connector's getCommitGraph, for commits given by the places of their parents."""

    def line(place: int | None) -> list[int]:
        found = []
        while place is not None:
            found.append(place)
            place = parents[place]
        return found

    first, second = line(one), line(two)
    for common in first:
        if common in second:
            to1, to2 = first[: first.index(common) + 1], second[: second.index(common) + 1]
            return {"common": common, "to1": to1[::-1], "to2": to2[::-1]}
    return None


def thd_insert(conn: Connection, parents: list[int | None], first_id: int) -> None:
    """A codebase of its own with these commits; ids count from ``first_id``."""
    projectid = codebaseid = first_id
    conn.execute(insert(projects).values(id=projectid, name=f"p{projectid}", name_hash=f"p{projectid}", slug="s"))
    conn.execute(insert(codebases).values(id=codebaseid, projectid=projectid, name="c", name_hash="c", slug="c"))
    rows = [
        {
            "id": first_id + place,
            "codebaseid": codebaseid,
            "author": "",
            "comments": "",
            "when_timestamp": 0,
            "revision": str(place),
            "revision_hash": str(place),
            "parent_commitid": None if parent is None else first_id + parent,
        }
        for place, parent in enumerate(parents)
    ]
    conn.execute(insert(commits), rows)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int | None], int, int]:
    """Parents by place, each earlier than its child; and two commits."""
    size = draw(st.integers(1, 40))
    parents: list[int | None] = [
        draw(st.one_of(st.none(), st.integers(0, place - 1), st.just(place - 1))) if place else None
        for place in range(size)
    ]
    return parents, draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))


@given(history=histories(), window=st.integers(1, 7))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_histories(history: tuple[list[int | None], int, int], window: int) -> None:
    """The nearest common ancestor, and the ids from there to each commit, for any number of steps in a statement."""
    parents, one, two = history
    master = make_master()
    with contextlib.ExitStack() as stack:
        stack.callback(master.db.close)
        stack.callback(master.mq.stop)
        stack.enter_context(windows_of(window))
        found: list[Any] = []
        master.db.pool.do(thd_insert, parents, 1)
        master.db.commits.getCommitGraph(1 + one, 1 + two).addBoth(found.append)
        master.db.commits.getCommonParent(1 + one, 1 + two).addBoth(found.append)
    expected = graph(parents, one, two)
    if expected is None:
        assert found == [None, None]
    else:
        shifted = {"to1": [1 + p for p in expected["to1"]], "to2": [1 + p for p in expected["to2"]]}
        assert found == [{"common": 1 + expected["common"], **shifted}, 1 + expected["common"]]


def windows_of(steps: int) -> Any:
    """One statement takes so many steps."""
    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(commits_connector, "WINDOW", steps))
    for name, make in (("_meet", commits_connector._towards_each_other), ("_line", commits_connector._back)):
        with mock.patch.object(commits_connector, "WINDOW", steps):
            stack.enter_context(mock.patch.object(commits_connector, name, Statement(make())))
    return stack


async def test_on_every_database(state: Any) -> None:
    """The same on real databases, where commits have siblings and cousins."""
    codebaseid = await add_codebase(state)
    parents = [None, 0, 1, 1, 3, 2, None, 6, 4]
    ids = await add_commits(state, codebaseid, *parents)
    for one in range(len(ids)):
        for two in range(len(ids)):
            expected = graph(parents, one, two)
            path = ("codebases", codebaseid, "commit_range", ids[one], ids[two], "commits_common_parent")
            found = await state.data.get({}, path)
            if expected is None:
                assert found is None
            else:
                named = {key: [ids[p] for p in expected[key]] for key in ("to1", "to2")}
                assert found == {"common": ids[expected["common"]], **named}


async def test_long_history(state: Any) -> None:
    """Histories longer than what a recursive statement may span are followed to their end."""
    length = 2 * commits_connector.WINDOW + 3
    first = 10**6
    parents = [None, *range(length), 0]
    await state.db.pool.do(thd_insert, parents, first)
    left, right = first + length, first + length + 1
    assert await state.db.commits.getCommonParent(left, right) == first
    found = await state.db.commits.getCommitGraph(left, right)
    assert found == {"common": first, "to1": [first + n for n in range(length + 1)], "to2": [first, right]}


async def test_no_such_commit(state: Any) -> None:
    """None, if one of them does not exist or is of another codebase."""
    codebaseid, other = await add_codebase(state), await add_codebase(state, "other")
    (mine,) = await add_commits(state, codebaseid, None)
    (foreign,) = await add_commits(state, other, None)
    assert await state.db.commits.getCommonParent(mine, NOBODY) is None
    for last in ("commits_common_parent", "test_result_sets"):
        for ends in ((mine, NOBODY), (mine, foreign), (foreign, foreign)):
            assert not await state.data.get({}, ("codebases", codebaseid, "commit_range", *ends, last))


async def test_results_of_range(state: Any) -> None:
    """Test result sets of builds of any commit between two and their common ancestor."""
    codebaseid = await add_codebase(state, "code")
    ids = await add_commits(state, codebaseid, None, 0, 1, 1)
    sets = []
    for revision, codebase in (("r0", "code"), ("r1", "code"), ("r2", "code"), ("r3", "code"), ("r3", "other")):
        stamp = {"branch": None, "revision": revision, "repository": "r", "codebase": codebase}
        buildid, _ = await add_build(state, sourcestamps=[stamp])
        step = await state.data.update.newStep(buildid, "test")
        build = await state.data.get({}, ("builds", buildid))
        sets.append(
            await state.data.update.addTestResultSet(
                build["builderid"], buildid, step["stepid"], None, "pass_fail", "boolean"
            )
        )

    async def found(one: int, two: int, **options: Any) -> list[int]:
        path = ("codebases", codebaseid, "commit_range", ids[one], ids[two], "test_result_sets")
        return [found["test_result_setid"] for found in await state.data.get(options, path)]

    assert await found(2, 3) == sets[1:4]
    assert await found(0, 2) == sets[:3]
    assert await found(3, 3) == [sets[3]]
    assert await found(2, 3, order=["-test_result_setid"], limit=2) == [sets[3], sets[2]]
    assert await found(2, 3, filters={"complete": True}) == []
    with mock.patch.object(CommitRangeEndpoint, "MAX_SETS", 2), pytest.raises(InvalidOptionError, match="more than 2"):
        await found(2, 3)
