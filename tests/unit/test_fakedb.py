"""The database for tests of plugins."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from twisted.internet.task import Clock

from buildbot.resources import clock, events, metadata
from buildbot.test.fake import fakedb


def test_a_row_for_every_table() -> None:
    """Row classes to insert test data, one for each table, named as Buildbot's users know them."""
    tables = [row.table.name for row in fakedb.ROWS.values()]
    assert sorted(tables) == sorted(metadata.tables)
    for name in ("BuildProperty", "BuildRequest", "CodebaseBranch", "LogChunk", "Patch", "SourceStamp", "UserInfo"):
        assert fakedb.ROWS[name] is getattr(fakedb, name)


async def test_rows_hold_together(master: Any) -> None:
    """A row names the columns that its test cares about; the others get values that hold together."""
    fakedb.insert(
        master,
        fakedb.ROWS["Build"](id=5, number=3, builderid=7, buildrequestid=4, masterid=master.masterid),
        fakedb.ROWS["BuildRequest"](id=4, buildsetid=3, builderid=7),
        fakedb.ROWS["Buildset"](id=3, sourcestampsetid=2),
        fakedb.ROWS["SourceStampSet"](id=2),
        fakedb.ROWS["Builder"](id=7, name="linux"),
    )
    assert (await master.db.builds.getBuild(5))["number"] == 3
    assert await master.db.builders.findBuilderId("linux") == 7
    assert (await master.data.get({}, ("builders", "linux", "builds", 3)))["buildid"] == 5


ROWS = [row for row in fakedb.ROWS.values() if row.table not in (clock, events)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_each_row(master: Any, row: type[fakedb.Row]) -> None:
    """Each row can be inserted once what it refers to is there; nothing else stops it."""
    refers = {key.parent.name: key.column for key in row.table.foreign_keys if not key.parent.nullable}
    try:
        fakedb.insert(master, row(**dict.fromkeys(refers, master.masterid)))
    except IntegrityError as error:
        assert refers and "FOREIGN KEY" in str(error)


async def test_found_by_name(master: Any) -> None:
    """What is looked up by a hash is found, whatever else the row says."""
    rows = fakedb.ROWS
    fakedb.insert(
        master,
        rows["Builder"](id=7, description="d", name="linux", tags='["t"]'),
        rows["Object"](id=8, class_name="C", name="o"),
        rows["ObjectState"](objectid=8, name="x", value_json="[1]"),
        rows["User"](id=9, identifier="i", bb_username="u", bb_password="p"),
        rows["UserInfo"](uid=9, attr_data="d", attr_type="t"),
    )
    assert await master.db.builders.findBuilderId("linux") == 7
    assert await master.db.state.getObjectId("o", "C") == 8
    assert await master.db.state.getState(8, "x") == [1]
    assert await master.db.users.identifierToUid("i") == 9
    assert (await master.db.users.getUserByUsername("u"))["uid"] == 9
    assert await master.db.users.findUserByAttr("i", "t", "d") == 9


async def test_line_of_changes(master: Any) -> None:
    """A change that is added follows an inserted one of the same line, not one of another."""
    fakedb.insert(
        master,
        fakedb.ROWS["SourceStamp"](id=1),
        fakedb.ROWS["Change"](id=5, branch="main", repository="r", sourcestampid=1),
        fakedb.ROWS["Change"](id=6, branch=None, repository="r", sourcestampid=1),
    )
    for branch, before in (("main", 5), (None, 6), ("dev", None)):
        changeid = await master.data.update.addChange(branch=branch, repository="r")
        found = await master.data.get({}, ("changes", changeid))
        assert found["parent_changeids"] == ([] if before is None else [before])


async def test_codebase_rows(master: Any) -> None:
    """What the connectors look up by hashes is found among inserted rows."""
    rows = fakedb.ROWS
    fakedb.insert(
        master,
        rows["Project"](id=1, name="p"),
        rows["Codebase"](id=2, projectid=1, name="c"),
        rows["CodebaseCommit"](id=3, codebaseid=2, revision="r"),
        rows["CodebaseBranch"](id=4, codebaseid=2, name="b", commitid=3),
    )
    update = master.data.update
    assert await update.find_project_id("p") == 1
    assert await update.find_codebase_id(projectid=1, name="c") == 2
    assert await update.add_commit(codebaseid=2, author="", comments="", revision="r") == 3
    assert await update.update_branch(codebaseid=2, name="b", commitid=3) == 4


def test_unknown_column() -> None:
    """A column that does not exist is an error that names it."""
    with pytest.raises(TypeError, match="nothing"):
        fakedb.ROWS["Builder"](nothing=1)


def test_runs_at_once() -> None:
    """Calls run at once, so their Deferreds have fired when they are returned; a Clock will do as reactor."""
    time = Clock()
    master = fakedb.make_master(time, name="mine")
    assert master.masterid == master.db.masterid
    found: list[Any] = []
    master.db.masters.getMaster(master.masterid).addCallback(found.append)
    assert (found[0]["name"], found[0]["active"]) == ("mine", True)
    heard: list[Any] = []
    master.data.startConsuming(lambda key, message: heard.append(key), {}, ("changes",))
    time.advance(0)
    master.data.update.addChange()
    assert heard == [("changes", "1", "new")]
    master.mq.stop()
    master.db.close()


def test_apart() -> None:
    """Each master has a database of its own."""
    masters = [fakedb.make_master() for _ in range(2)]
    masters[0].db.changes.addChange()
    found: list[Any] = []
    for master in masters:
        master.db.changes.getLatestChangeid().addCallback(found.append)
        master.mq.stop()
        master.db.close()
    assert found == [1, None]
