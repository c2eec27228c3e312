"""Databases of a real Buildbot 4.3 on servers; the sample is its database on SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from buildbot.importing import upstream
from buildbot.importing.chunks import text_of
from buildbot.importing.source import Source
from buildbot.master import openMaster
from tests.importing.old_master import OldMaster, running
from tests.importing.support import contents, run_import
from tests.support.databases import database_url, selected_backends

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.mark.parametrize("backend", [each for each in selected_backends() if each != "sqlite"])
async def test_servers(backend: str, tmp_path: Path) -> None:
    """Builds, steps, logs, properties and positions of an installation on a server are all there; it is imported while
    the old master runs, and again when it has stopped, and the server's database stays as it was."""
    with database_url(backend, "old") as theirs, database_url(backend, "new") as ours:
        old = OldMaster(tmp_path, backend, theirs)
        with running(old):
            old.see_builds(2)
            first = run_import(theirs, ours)
            assert first.left_out == [] and first.rows["builds"] >= 2
            old.see_builds(1)
        second = run_import(theirs, ours)
        assert second.left_out == [] and second.rows["builds"] >= 1
        source = Source(theirs)
        with source.opened():
            counts = {
                table: source.ask(text(f"SELECT count(*) FROM {table}"))[0][0]  # type: ignore[arg-type]
                for table in ("builds", "steps", "logs", "build_properties", "buildrequests", "buildsets", "changes")
            }
            texts = _texts(source)
            (position,) = [row[2] for row in source.all(upstream.object_state) if row[1] == "lastRev"]
        rows = contents(ours)
        assert {table: len(rows[table]) for table in counts} == counts
        master = await openMaster(ours, "host:/new")
        for logid, content in texts.items():
            assert (await master.data.get({}, ("logs", logid, "contents")))["content"] == content
        builds = await master.data.get({}, ("builds",))
        assert {build["results"] for build in builds} <= {1, 5, 6} and {build["number"] for build in builds} == set(
            range(1, len(builds) + 1)
        )
        assert "hällo\n" in next(iter(texts.values()))
        ended = next(build for build in builds if build["results"] == 1)
        properties = await master.db.builds.getBuildProperties(ended["buildid"])
        assert properties["colour"] == ("blue", "SetProperty")
        state = master.db.state
        objectid = await state.getObjectId(str(old.repository), "GitPoller")
        seen: dict[str, Any] = await state.getState(objectid, "lastRev")
        assert next(iter(seen["heads"].values())) in position and list(seen["heads"]) == ["refs/heads/main"]
        feed = await state.getState(await state.getObjectId("often", "Periodic"), "feed")
        assert feed["last"] > 1_700_000_000
        await master.close()


def _texts(source: Source) -> dict[int, str]:
    found: dict[int, str] = {}
    chunks = upstream.logchunks
    for logid, first, last, content, compressed in source.ask(
        select(chunks).order_by(chunks.c.logid, chunks.c.first_line)
    ):
        found[logid] = found.get(logid, "") + text_of(content, compressed, last - first + 1).decode()
    return found
