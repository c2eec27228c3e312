"""A database of the first schema, with rows in it, becomes one of the second."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, select
from sqlalchemy.engine import Engine

from buildbot.db import model
from buildbot.db.dialects import dialect_for
from buildbot.master import openMaster
from tests.support.databases import database_url, selected_backends

HASH = "0" * 31
LONG = "".join(random.Random(2).choices("abcdefghijklmnop", k=20_000))

ROWS: dict[str, list[dict[str, Any]]] = {
    "builders": [
        {"id": 3, "name": "linux", "name_hash": f"{HASH}1", "projectid": 77, "tags": "[]", "last_number": 5},
        {"id": 4, "name": "mac", "name_hash": f"{HASH}2", "projectid": None, "tags": "[]", "last_number": 0},
    ],
    "sourcestamps": [
        {"id": 1, "revision": None, "repository": "", "project": "", "codebase": "", "created_at": 1},
        {"id": 2, "revision": LONG, "repository": "", "project": "", "codebase": "", "created_at": 1},
        {"id": 3, "revision": "r1", "repository": "", "project": "", "codebase": "", "created_at": 1},
    ],
    "changes": [
        {
            "id": number,
            "author": "a",
            "comments": "",
            "is_dir": 0,
            "revision": revision,
            "when_timestamp": 1,
            "repository": "",
            "project": "",
            "codebase": "",
            "files": "[]",
            "links": "[]",
            "properties": "{}",
            "parent_changeids": "[]",
            "sourcestampid": number,
            "history_hash": f"{HASH}1",
        }
        for number, revision in ((1, None), (2, LONG), (3, "r1"))
    ],
}


@pytest.fixture(params=selected_backends())
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the first schema with rows."""
    with database_url(request.param, "migrations", tmp_path) as found:
        dialect = dialect_for(found)
        engine = dialect.create_engine()
        model.upgrade(engine, to="001")
        tables = reflected(engine)
        with engine.begin() as conn:
            for name, rows in ROWS.items():
                conn.execute(tables[name].insert(), rows)
        engine.dispose()
        yield found


def reflected(engine: Engine) -> dict[str, Any]:
    """The tables as they are in the database."""
    metadata = MetaData()
    metadata.reflect(engine)
    return dict(metadata.tables)


async def test_rows_stay(url: str) -> None:
    """Every row is there afterwards, as it was, but for projects of builders, which there were none of."""
    master = await openMaster(url, name="m", upgrade=True)
    tables = reflected(master.db.pool.engine)

    def thd(conn: Any) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [
                {key: row[key] for key in given}
                for given, row in zip(
                    rows, conn.execute(select(tables[name]).order_by(tables[name].c.id)).mappings(), strict=True
                )
            ]
            for name, rows in ROWS.items()
        }

    expected = {**ROWS, "builders": [{**row, "projectid": None} for row in ROWS["builders"]]}
    assert await master.db.pool.do(thd) == expected
    await master.close()


async def test_works_afterwards(url: str) -> None:
    """Text of any length is still found exactly; what is new can be used."""
    master = await openMaster(url, name="m", upgrade=True)
    for revision, changeid in ((LONG, 2), ("r1", 3)):
        found = await master.data.get({"filters": {"revision": revision}}, ("changes",))
        assert [change["changeid"] for change in found] == [changeid]
    assert await master.data.get({"filters": {"revision": LONG[:-1]}}, ("changes",)) == []
    projectid = await master.data.update.find_project_id("p")
    assert [p["projectid"] for p in await master.data.get({}, ("projects",))] == [projectid]
    await master.close()
