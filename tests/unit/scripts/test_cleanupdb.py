"""``buildbot cleanupdb``"""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from buildbot.master import openMaster
from buildbot.scripts.cleanupdb import compact
from buildbot.scripts.main import main
from buildbot.util.basedirlock import BasedirLock
from tests.support.databases import database_url, selected_backends


@pytest.mark.parametrize("backend", selected_backends())
async def test_compact(backend: str, tmp_path: Path) -> None:
    """All rows stay, and a file gets smaller by the removed ones."""
    with database_url(backend, "cleanup", tmp_path) as url:
        with pytest.raises(click.ClickException, match="the database has no table"):
            compact(url, tmp_path)
        master = await openMaster(url, "m", upgrade=True, basedir=tmp_path)
        state = master.db.state
        objectid = await state.getObjectId("o", "c")
        for number in range(20):
            await state.setState(objectid, f"n{number}", "x" * 100_000)
        for number in range(1, 20):
            await state.setState(objectid, f"n{number}", "")
        await master.close()
        files = [path for path in tmp_path.iterdir() if path.suffix == ".sqlite"]
        before = sum(path.stat().st_size for path in files)
        compact(url, tmp_path)
        assert backend != "sqlite" or sum(path.stat().st_size for path in files) < before - 1_500_000
        master = await openMaster(url, "m", basedir=tmp_path)
        assert await master.db.state.getState(objectid, "n0") == "x" * 100_000
        await master.close()


def test_refused(tmp_path: Path) -> None:
    """The command is refused while a master runs."""
    (tmp_path / "master.cfg").write_text("c = BuildmasterConfig = {'multiMaster': True}\n")
    with BasedirLock(tmp_path):
        result = CliRunner().invoke(main, ["cleanupdb", str(tmp_path)])
    assert (result.exit_code, "a master already runs" in result.output) == (1, True)
    result = CliRunner().invoke(main, ["cleanupdb", str(tmp_path)])
    assert (result.exit_code, "buildbot upgrade-master" in result.output) == (1, True)
