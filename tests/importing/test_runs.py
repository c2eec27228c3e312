"""Imports that are repeated, interrupted or refused: in the end the rows are always the same."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from buildbot.db.dialects import dialect_for
from buildbot.importing.report import ImportRefusedError
from buildbot.master import openMaster
from tests.importing.support import (
    changed,
    contents,
    imported,
    named_objects,
    run_import,
    sample_copy,
    turn_back,
)
from tests.support.databases import database_url, selected_backends

#: in the last step of a build
MOMENT = 1795879020


def whole(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """The content that does not depend on the number of runs: all but the clock and positions in the log."""
    found = named_objects(contents(url, without=("clock", "events")))
    found["object_state"] = [row for row in found["object_state"] if row[3] != "feed"]
    return found


@pytest.fixture(scope="module")
def at_once(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    """The result of a single run on the sample."""
    with imported("sqlite", sample, tmp_path_factory.mktemp("at_once")) as found:
        return whole(found.url)


@pytest.mark.parametrize("backend", selected_backends())
def test_a_second_run_brings_what_has_come_since(
    backend: str, sample: Path, tmp_path: Path, at_once: dict[str, list[tuple[Any, ...]]]
) -> None:
    """New rows, builds that have ended, changed workers and positions come; all is as after one run, and a third run
    writes only what is still unfinished."""
    early = sample_copy(tmp_path)
    turn_back(early, MOMENT)
    with imported(backend, early, tmp_path) as first:
        assert first.report.left_out == []
        assert whole(first.url) != at_once
        second = run_import(f"sqlite:///{sample}", first.url)
        assert second.left_out == []
        assert 0 < second.rows["builds"] < 10 and second.rows["steps"] < 60
        assert whole(first.url) == at_once
        third = run_import(f"sqlite:///{sample}", first.url)
        del third.rows["object_state"], third.rows["scheduler_changes"]
        assert third.rows == {
            "buildsets": 3, "buildrequests": 3, "builds": 1, "build_properties": 20, "steps": 1, "logs": 1,
        }  # fmt: skip
        assert whole(first.url) == at_once


@pytest.mark.parametrize("backend", selected_backends())
def test_killed_at_any_moment(
    backend: str, sample: Path, tmp_path: Path, at_once: dict[str, list[tuple[Any, ...]]]
) -> None:
    """A killed run continues, and the result is that of a single run."""
    seed = random.randrange(1_000_000)
    with database_url(backend, "killed", tmp_path) as url:
        subprocess.run(
            [sys.executable, "-m", "tests.importing.killed", "import", f"sqlite:///{sample}", url, str(seed)],
            check=True, timeout=100,
        )  # fmt: skip
        assert whole(url) == at_once, f"seed {seed}"


def test_not_empty(sample: Path, tmp_path: Path) -> None:
    """A database with other rows is refused, with their tables, and stays unchanged."""
    target = f"sqlite:///{tmp_path / 'target.sqlite'}"
    with _upgraded(target) as engine, engine.begin() as conn:
        conn.execute(text("INSERT INTO builders (name, name_hash, tags) VALUES ('b', 'x', '[]')"))
    with pytest.raises(ImportRefusedError, match=r"the database is not empty, it has: builders \(1\)"):
        run_import(f"sqlite:///{sample}", target)
    assert contents(target)["objects"] == []


def _upgraded(url: str) -> Any:
    from contextlib import contextmanager

    from buildbot.db.model import upgrade

    @contextmanager
    def opened() -> Any:
        engine = dialect_for(url).create_engine()
        upgrade(engine)
        yield engine
        engine.dispose()

    return opened()


async def test_a_master_has_run(sample: Path, tmp_path: Path) -> None:
    """A database on which a master has run since the import is refused; one that only registered is replaced."""
    url = f"sqlite:///{tmp_path / 'target.sqlite'}"
    registered = await openMaster(url, "host:/new", upgrade=True)
    await registered.close()
    run_import(f"sqlite:///{sample}", url)
    assert [row[1] for row in contents(url)["masters"]] == ["ci.example.org:/srv/ci"]
    registered = await openMaster(url, "host:/new")
    await registered.close()
    run_import(f"sqlite:///{sample}", url)
    ran = await openMaster(url, "host:/new")
    await ran.data.update.masterActive()
    await ran.data.update.masterStopped()
    await ran.close()
    with pytest.raises(ImportRefusedError, match=r"the master 'host:/new' has run on this database since"):
        run_import(f"sqlite:///{sample}", url)


def test_another_source(sample: Path, tmp_path: Path) -> None:
    """A database that was filled from one installation is not filled from another."""
    other = sample_copy(tmp_path)
    with changed(other) as connection:
        connection.execute("UPDATE masters SET name = 'other'")
    with imported("sqlite", sample, tmp_path) as found, pytest.raises(
        ImportRefusedError, match=r"was filled from another one, whose masters are ci\.example\.org:/srv/ci"
    ):  # fmt: skip
        run_import(f"sqlite:///{other}", found.url)


async def test_a_user_was_added_here(sample: Path, tmp_path: Path) -> None:
    """A row that was added to the target since the last run stays; the row with its id is reported."""
    early = sample_copy(tmp_path)
    with changed(early) as connection:
        connection.execute("DELETE FROM users_info WHERE uid = 4")
        connection.execute("DELETE FROM users WHERE uid = 4")
    with imported("sqlite", early, tmp_path) as found:
        master = await openMaster(found.url, "host:/new")
        assert await master.db.users.findUserByAttr("eve", "svn", "eve") == 4
        await master.close()
        report = run_import(f"sqlite:///{sample}", found.url)
        assert "users 4: the database has users 4 of its own" in list(map(str, report.left_out))
        assert [row[1] for row in contents(found.url)["users"] if row[0] == 4] == ["eve"]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            "059",
            "has version 059 of Buildbot's schema; 066 and 067 can be read. Upgrade it first: install Buildbot 4.3",
        ),
        ("068", "has version '068' of Buildbot's schema, which is unknown; 066 and 067 can be read"),
        (None, "it has no table alembic_version"),
    ],
)
def test_versions(version: str | None, message: str, tmp_path: Path) -> None:
    """A schema of another version is refused, with a remedy; the target stays empty."""
    path = sample_copy(tmp_path)
    with changed(path) as connection:
        if version is None:
            connection.execute("DROP TABLE alembic_version")
        else:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    target = tmp_path / "target.sqlite"
    with pytest.raises(ImportRefusedError) as refused:
        run_import(f"sqlite:///{path}", f"sqlite:///{target}")
    assert message in str(refused.value) and not target.exists()


def test_version_066(tmp_path: Path) -> None:
    """A schema without codebases is read too."""
    path = sample_copy(tmp_path)
    with changed(path) as connection:
        for table in ("codebase_branches", "codebase_commits", "codebases"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("UPDATE alembic_version SET version_num = '066'")
    with imported("sqlite", path, tmp_path) as found:
        assert found.report.left_out == [] and found.report.rows["builds"] == 48


def test_our_own_database(sample: Path, tmp_path: Path) -> None:
    """A Tenfold database is no source of an import; the message names the command that copies it."""
    with (
        imported("sqlite", sample, tmp_path) as found,
        pytest.raises(ImportRefusedError, match="buildbot copy-db"),
    ):
        run_import(found.url, f"sqlite:///{tmp_path / 'target.sqlite'}")


def test_no_such_file(tmp_path: Path) -> None:
    """A missing source is named, and not created."""
    with pytest.raises(ImportRefusedError, match=r"missing\.sqlite cannot be read: unable to open database file"):
        run_import(f"sqlite:///{tmp_path / 'missing.sqlite'}", f"sqlite:///{tmp_path / 'target.sqlite'}")
    assert list(tmp_path.iterdir()) == []


def test_the_source_stays_as_it_is(sample: Path, tmp_path: Path) -> None:
    """Not a byte of the source changes."""
    before = sample.read_bytes()
    with imported("sqlite", sample, tmp_path):
        assert sample.read_bytes() == before


def test_disk_full(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is reported; the written rows are kept, and the next run continues."""
    from buildbot.importing import target

    url = f"sqlite:///{tmp_path / 'target.sqlite'}"
    insert_many = target.Step.insert

    def limited(step: Any, table: Any, *args: Any) -> None:
        if table.name == "steps":
            pages = step.conn.exec_driver_sql("PRAGMA page_count").scalar()
            step.conn.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        insert_many(step, table, *args)

    monkeypatch.setattr(target.Step, "insert", limited)
    with pytest.raises(ImportRefusedError, match=r"the disk of the database .* is full .*run this again"):
        run_import(f"sqlite:///{sample}", url)
    assert len(contents(url)["builds"]) == 48
    monkeypatch.undo()
    assert run_import(f"sqlite:///{sample}", url).rows["steps"] == 379


def test_progress(sample: Path, tmp_path: Path) -> None:
    """Each line has the part done, the table, the rate and the time left."""
    said: list[str] = []
    run_import(f"sqlite:///{sample}", f"sqlite:///{tmp_path / 'target.sqlite'}", said.append)
    assert any(" builds, " in line and "rows/s, about " in line and line.endswith(" left") for line in said)
    assert said[-1].startswith("100%")
