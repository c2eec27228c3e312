"""Projects, codebases, branches and commits."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.resources.commits import COMMIT
from tests.support.events import announced
from tests.support.refusals import refuses, unchanged
from tests.support.samples import NOBODY, NOT_REQUIRED_ID, NOT_REQUIRED_TEXT

#: what no identifier takes
NOT_IDENTIFIER: tuple[tuple[Any, type[Exception]], ...] = (
    *NOT_REQUIRED_TEXT,
    ("", ValueError),
    ("7up", ValueError),
    ("a b", ValueError),
    ("a/b", ValueError),
    ("línux", ValueError),
    ("a\n", ValueError),
    ("n" * 71, ValueError),
)


async def add_codebase(state: Any, name: str = "code", project: str = "p") -> int:
    """A codebase of a project; its id."""
    projectid = await state.data.update.find_project_id(project)
    found: int = await state.data.update.find_codebase_id(projectid=projectid, name=name)
    return found


async def add_commits(state: Any, codebaseid: int, *parents: int | None) -> list[int]:
    """Commits whose parents are given by place; their ids."""
    ids: list[int] = []
    for place, parent in enumerate(parents):
        ids.append(
            await state.data.update.add_commit(
                codebaseid=codebaseid,
                author="A <a@example.org>",
                comments="c",
                revision=f"r{place}",
                when_timestamp=place,
                parent_commitid=None if parent is None else ids[parent],
            )
        )
    return ids


async def test_project(state: Any) -> None:
    """A project is made when it is first asked for, described by a later update, and found by id and by name."""
    update = state.data.update
    projectid = await update.find_project_id("tenfold")
    assert await update.find_project_id("tenfold") == projectid
    expected = {
        "projectid": projectid,
        "name": "tenfold",
        "slug": "tenfold",
        "active": False,
        "description": None,
        "description_format": None,
        "description_html": None,
    }
    assert await state.db.projects.getProject(projectid) == expected
    await update.update_project_info(projectid, "ten", "*d*", "markdown", "<em>d</em>")
    expected |= {
        "slug": "ten",
        "description": "*d*",
        "description_format": "markdown",
        "description_html": "<em>d</em>",
    }
    for path in (("projects", projectid), ("projects", "tenfold")):
        found = await state.data.get({}, path)
        assert {name: found[name] for name in expected} == expected
    assert await state.db.projects.getProjects() == [expected]
    assert await state.db.projects.getProject(NOBODY) is None


async def test_projects_by_name(state: Any) -> None:
    """Projects are listed by name."""
    for name in ("b", "a", "B"):
        await state.data.update.find_project_id(name)
    assert [p["name"] for p in await state.db.projects.getProjects()] == ["B", "a", "b"]
    assert [p["name"] for p in await state.data.get({}, ("projects",))] == ["B", "a", "b"]


async def test_active(state: Any) -> None:
    """A project is active while a master runs a builder of it; ``active`` can be filtered."""
    update = state.data.update
    one, two = [await update.find_project_id(name) for name in ("one", "two")]
    ids = await update.setBuilders([{"name": "b", "projectid": one}, {"name": "other"}])
    assert [p["projectid"] for p in await state.data.get({"filters": {"active": True}}, ("projects",))] == [one]
    assert [p["projectid"] for p in await state.data.get({"filters": {"active": False}}, ("projects",))] == [two]
    builders = await state.data.get({}, ("projects", one, "builders"))
    assert [(b["builderid"], b["projectid"]) for b in builders] == [(ids["b"], one)]
    await update.setBuilders([{"name": "other", "projectid": two}])
    assert [p["projectid"] for p in await state.data.get({"filters": {"active": True}}, ("projects",))] == [two]
    # a builder that is no longer configured stays in its project
    assert len(await state.data.get({}, ("projects", one, "builders"))) == 1


async def test_no_such_project(state: Any) -> None:
    """A builder of a project that does not exist is refused, and nothing of the call is written."""
    async with unchanged(state):
        with pytest.raises(ValueError, match="projectid"):
            await state.data.update.setBuilders([{"name": "b", "projectid": NOBODY}])


async def test_codebase(state: Any) -> None:
    """A codebase belongs to a project; names are unique there, not beyond."""
    update = state.data.update
    codebaseid = await add_codebase(state)
    assert await add_codebase(state) == codebaseid
    other = await add_codebase(state, project="q")
    assert other != codebaseid
    found = await state.db.codebases.getCodebase(codebaseid)
    assert found == {"codebaseid": codebaseid, "projectid": found["projectid"], "name": "code", "slug": "code"}
    by_name = await state.data.get({}, ("projects", found["projectid"], "codebases", "code"))
    assert by_name == await state.data.get({}, ("codebases", codebaseid))
    assert [c["codebaseid"] for c in await state.db.codebases.getCodebases()] == [codebaseid, other]
    assert await state.db.codebases.getCodebases(found["projectid"]) == [found]
    assert await state.db.codebases.getCodebase(NOBODY) is None
    await update.update_codebase_info(codebaseid=codebaseid, projectid=found["projectid"], slug="c")
    assert (await state.db.codebases.getCodebase(codebaseid))["slug"] == "c"
    async with unchanged(state):
        taken = (await state.db.codebases.getCodebase(other))["projectid"]
        for projectid in (taken, NOBODY):
            with pytest.raises(ValueError, match="projectid"):
                await update.update_codebase_info(codebaseid=codebaseid, projectid=projectid, slug="c")
        with pytest.raises(ValueError, match="projectid"):
            await update.find_codebase_id(projectid=NOBODY, name="x")


async def test_commit(state: Any) -> None:
    """A commit is found by id and by revision; one that is there already stays as it is."""
    codebaseid = await add_codebase(state)
    first, second = await add_commits(state, codebaseid, None, 0)
    expected = {
        "commitid": second,
        "codebaseid": codebaseid,
        "author": "A <a@example.org>",
        "committer": None,
        "comments": "c",
        "when_timestamp": 1,
        "revision": "r1",
        "parent_commitid": first,
    }
    assert await state.db.commits.getCommit(second) == expected
    assert await state.db.commits.getCommitByRevision(codebaseid, "r1") == expected
    found = await state.data.get({}, ("codebases", codebaseid, "commits_by_revision", "r1"))
    assert found == await state.data.get({}, ("commits", second))
    assert {name: found[name] for name in expected} == expected
    assert [c["commitid"] for c in await state.data.get({}, ("codebases", codebaseid, "commits"))] == [first, second]
    async with unchanged(state):
        again = await state.data.update.add_commit(codebaseid=codebaseid, author="B", comments="", revision="r1")
    assert again == second
    other = await add_codebase(state, "other")
    assert await state.db.commits.getCommitByRevision(other, "r1") is None
    assert await state.db.commits.getCommit(NOBODY) is None


async def test_commit_refused(state: Any) -> None:
    """A parent must be a commit of the same codebase, which must exist; errors name the argument."""
    codebaseid, other = await add_codebase(state), await add_codebase(state, "other")
    (foreign,) = await add_commits(state, other, None)
    good = {"codebaseid": codebaseid, "author": "a", "comments": "", "revision": "r"}
    add = state.data.update.add_commit
    wrong_id = [(NOBODY, ValueError), *NOT_REQUIRED_ID]
    await refuses(state, add, wrong_id, "codebaseid", **{**good, "codebaseid": None})
    await refuses(state, add, [(foreign, ValueError), *wrong_id[:1]], "parent_commitid", **good)
    for name in ("author", "comments", "revision"):
        await refuses(state, add, NOT_REQUIRED_TEXT, name, **good)


async def test_branch(state: Any) -> None:
    """A branch is added when it is first seen, and moves with later updates."""
    codebaseid = await add_codebase(state)
    first, second = await add_commits(state, codebaseid, None, 0)
    update = state.data.update
    branchid = await update.update_branch(codebaseid=codebaseid, name="feature/x y", commitid=first, last_timestamp=5)
    expected = {
        "branchid": branchid,
        "codebaseid": codebaseid,
        "name": "feature/x y",
        "commitid": first,
        "last_timestamp": 5,
    }
    assert await state.db.branches.getBranch(branchid) == expected
    again = await update.update_branch(codebaseid=codebaseid, name="feature/x y", commitid=second, last_timestamp=6)
    assert again == branchid
    expected |= {"commitid": second, "last_timestamp": 6}
    assert await state.db.branches.getBranches(codebaseid) == [expected]
    found = await state.data.get({"expand": ["commit"]}, ("branches", branchid))
    assert found["commit"]["revision"] == "r1"
    assert await state.db.branches.getBranch(NOBODY) is None
    (foreign,) = await add_commits(state, await add_codebase(state, "other"), None)
    async with unchanged(state):
        for commitid in (foreign, NOBODY):
            with pytest.raises(ValueError, match="commitid"):
                await update.update_branch(codebaseid=codebaseid, name="b", commitid=commitid)
        with pytest.raises(ValueError, match="codebaseid"):
            await update.update_branch(codebaseid=NOBODY, name="b")


async def test_events(state: Any) -> None:
    """The routing keys that clients know; what changes nothing announces nothing."""
    update = state.data.update
    (made,) = await announced(state, update.find_project_id, "p")
    projectid = await update.find_project_id("p")
    assert made == f"projects/{projectid}/update"
    (made,) = await announced(state, update.find_codebase_id, projectid=projectid, name="c")
    codebaseid = await update.find_codebase_id(projectid=projectid, name="c")
    assert made == f"codebases/{codebaseid}/update"
    assert await announced(state, update.find_project_id, "p") == []
    assert await announced(state, update.find_codebase_id, projectid=projectid, name="c") == []
    project, codebase = f"projects/{projectid}/update", f"codebases/{codebaseid}/update"
    assert await announced(state, update.update_project_info, projectid, "slug") == [project]
    assert await announced(state, update.update_project_info, projectid, "slug") == []
    info = {"codebaseid": codebaseid, "projectid": projectid}
    assert await announced(state, update.update_codebase_info, **info, slug="s") == [codebase]
    assert await announced(state, update.update_codebase_info, **info, slug="s") == []
    commit = {"codebaseid": codebaseid, "author": "a", "comments": "", "revision": "r"}
    (key,) = await announced(state, update.add_commit, **commit)
    commitid = int(key.split("/")[1])
    assert key == f"commits/{commitid}/new"
    assert await announced(state, update.add_commit, **commit) == []
    assert f"codebases/{codebaseid}/commits/{commitid}/new" in [
        template.format(codebaseid=codebaseid, commitid=commitid) + "/new" for template in COMMIT.events
    ]
    (key,) = await announced(state, update.update_branch, codebaseid=codebaseid, name="b", commitid=commitid)
    (branch,) = await state.db.branches.getBranches(codebaseid)
    assert key == f"branches/{branch['branchid']}/update"


async def test_identifiers(state: Any) -> None:
    """Names and slugs are identifiers of at most 70 characters."""
    update = state.data.update
    projectid = await update.find_project_id("p" * 70)
    codebaseid = await update.find_codebase_id(projectid=projectid, name="c")
    await refuses(state, update.find_project_id, NOT_IDENTIFIER, "name")
    await refuses(state, update.find_codebase_id, NOT_IDENTIFIER, "name", projectid=projectid)
    await refuses(state, update.update_project_info, NOT_IDENTIFIER, "slug", projectid=projectid)
    info = {"codebaseid": codebaseid, "projectid": projectid}
    await refuses(state, update.update_codebase_info, NOT_IDENTIFIER, "slug", **info)
