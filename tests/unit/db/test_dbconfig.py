"""DbConfig: values in the database that a master.cfg reads and sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildbot.master import openMaster
from buildbot.plugins import util
from tests.support.databases import database_url, selected_backends


@pytest.mark.parametrize("backend", selected_backends())
async def test_values(backend: str, tmp_path: Path) -> None:
    """One object reads the values that another sets under the same name; a missing one gives the default, or a
    KeyError.
    """
    with database_url(backend, "dbconfig", tmp_path) as url:
        config = util.DbConfig({"db": {"db_url": url}}, str(tmp_path))
        assert config.get("workers", ["none"]) == ["none"]  # before there is a table
        master = await openMaster(url, "m", upgrade=True, basedir=tmp_path)
        await master.close()
        with pytest.raises(KeyError):
            config.get("workers")
        config.set("workers", ["a", "b"])
        config.set("workers", ["a", {"c": None}])
        assert util.DbConfig({"db_url": url}, str(tmp_path)).get("workers") == ["a", {"c": None}]
        assert util.DbConfig({"db_url": url}, str(tmp_path), name="other").get("workers", 5) == 5
        with pytest.raises(TypeError):
            config.set("workers", object())


def test_a_url_with_secrets() -> None:
    """Secrets are not known while the configuration is read."""
    with pytest.raises(TypeError, match="DbConfig needs a db_url that is a text"):
        util.DbConfig({"db_url": util.Secret("url")}, "/m")
