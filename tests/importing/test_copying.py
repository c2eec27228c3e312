"""Tenfold databases are copied from any kind to any other, with the log of events and its clock."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from buildbot.importing.report import ImportRefusedError
from buildbot.master import openMaster
from tests.importing.support import Imported, contents, imported, run_copy
from tests.support.databases import database_url, selected_backends
from tests.support.reactor import run

PAIRS = [(one, other) for one in selected_backends() for other in selected_backends() if one != other]


@pytest.fixture(scope="module")
def sources(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Imported, int]]]:
    """For each kind a database with rows in all tables and some events, and a position in their log."""
    with ExitStack() as stack:
        found = {}
        for backend in selected_backends():
            one = stack.enter_context(imported(backend, sample, tmp_path_factory.mktemp("source")))
            found[backend] = one, run(_live(one.url))
        yield found


async def _live(url: str) -> int:
    master = await openMaster(url, "host:/source")
    update = master.data.update
    await update.masterActive()
    await update.addChange(author="Eve", revision="before", branch="main")
    _, clock = await master.data.snapshot({}, ("changes",))
    await update.addChange(author="Eve", revision="after", branch="main", comments="☃\n" * 1000)
    # a number that was given and is gone is not given again
    assert await master.db.users.findUserByAttr("gone", "svn", "gone") == 5
    await master.db.users.removeUser(5)
    await update.masterStopped()
    await master.close()
    return int(clock)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_every_pair(one: str, other: str, sources: dict[str, tuple[Imported, int]], tmp_path: Path) -> None:
    """Every row is there, events and clock included; a client goes on where it was, and numbers go on too. A repeated
    copy writes nothing."""
    source, clock = sources[one]
    with database_url(other, "copy", tmp_path) as url:
        report = run_copy(source.url, url)
        assert report.left_out == [] and "are equal" in report.notes[0]
        before = contents(source.url, everything=True)
        after = copied(url)
        assert after == before and len(after["events"]) > 2
        assert run_copy(source.url, url).total == 0
        run(_go_on(url, clock))
        with pytest.raises(ImportRefusedError, match="a master has changed the copy since it was made"):
            run_copy(source.url, url)


def copied(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a copy, without its mark."""
    found = contents(url, everything=True)
    found["objects"] = [row for row in found["objects"] if row[0] != -1]
    found["object_state"] = [row for row in found["object_state"] if row[0] != -1]
    return found


async def _go_on(url: str, clock: int) -> None:
    master = await openMaster(url, "host:/copy")
    heard: list[Any] = []
    subscription = await master.data.subscribe(
        [("changes", None, "new")], lambda event, key: heard.append(event), clock
    )
    assert await master.data.update.addChange(author="Eve", revision="next", branch="main") == 12
    _, now = await master.data.snapshot({}, ("changes",))
    while subscription.clock < now:
        await master.mq.barrier() if hasattr(master.mq, "barrier") else await master.data.get({}, ("changes", 12))
    assert [event.message["revision"] for event in heard] == ["after", "next"]
    subscription.stopConsuming()
    assert await master.db.users.findUserByAttr("new", "svn", "new") == 6
    await master.close()


@pytest.mark.parametrize("backend", selected_backends())
def test_killed_at_any_moment(backend: str, sources: dict[str, tuple[Imported, int]], tmp_path: Path) -> None:
    """A killed copy is incomplete; the next run makes it equal."""
    source, _ = sources["sqlite" if "sqlite" in sources else backend]
    seed = random.randrange(1_000_000)
    with database_url(backend, "killed", tmp_path) as url:
        command = [sys.executable, "-m", "tests.importing.killed", "copy", source.url, url, str(seed)]
        subprocess.run(command, check=True, timeout=100)
        assert copied(url) == contents(source.url, everything=True), f"seed {seed}"


def test_a_copy_is_brought_up_to_date(sample: Path, tmp_path: Path) -> None:
    """Rows that were added, changed and removed since are so in the copy, too."""
    url = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    with imported("sqlite", sample, tmp_path) as source:
        run_copy(source.url, url)
        run(_change(source.url))
        report = run_copy(source.url, url)
        assert report.left_out == [] and 0 < report.total < 40
        assert copied(url) == contents(source.url, everything=True)


async def _change(url: str) -> None:
    master = await openMaster(url, "host:/source")
    update = master.data.update
    await update.masterActive()
    await update.addChange(author="Eve", revision="r", branch="main")
    await master.db.users.removeUser(4)
    await master.db.users.findUserByAttr("hopper", "svn", "hopper")
    assert await update.claimBuildRequests([54])
    buildid = await update.newBuild(54)
    await update.finishBuild(buildid, 0)
    await update.completeBuildRequests([54], 0)
    await update.masterStopped()
    await master.close()


def test_refusals(sources: dict[str, tuple[Imported, int]], tmp_path: Path) -> None:
    """Databases that are used, not empty, missing or of an old schema are refused, with the reason."""
    backend = next(iter(sources))
    source, _ = sources[backend]
    occupied, other = f"sqlite:///{tmp_path / 'occupied.sqlite'}", f"sqlite:///{tmp_path / 'other.sqlite'}"
    run(_occupy(occupied))
    with pytest.raises(ImportRefusedError, match=r"the database is not empty, it has: users \(1\)"):
        run_copy(source.url, occupied)
    with pytest.raises(ImportRefusedError, match=r"missing\.sqlite cannot be read: unable to open database file"):
        run_copy(f"sqlite:///{tmp_path / 'missing.sqlite'}", other)
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(ImportRefusedError, match="does not have the schema of this version; bring it up to date first"):
        run_copy(f"sqlite:///{tmp_path / 'empty.sqlite'}", other)
    run(_occupy(other, stays_active=True))
    with pytest.raises(ImportRefusedError, match="the master 'host:/other' runs on the database that is copied"):
        run_copy(other, f"sqlite:///{tmp_path / 'copy.sqlite'}")


async def _occupy(url: str, stays_active: bool = False) -> None:
    master = await openMaster(url, "host:/other", upgrade=True)
    await master.db.users.findUserByAttr("eve", "svn", "eve")
    if stays_active:
        await master.data.update.masterActive()
    await master.close()


def test_somebody_writes_meanwhile(sample: Path, tmp_path: Path) -> None:
    """A write to the source during a copy is reported; the next run completes the copy."""
    url = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    with imported("sqlite", sample, tmp_path) as source:
        wrote: list[None] = []

        def write_once(line: str) -> None:
            if not wrote and "builds" in line:
                wrote.append(run(_occupy(source.url)))

        with pytest.raises(ImportRefusedError, match="the source was changed during the copy"):
            run_copy(source.url, url, write_once)
        assert run_copy(source.url, url).left_out == []
        assert copied(url) == contents(source.url, everything=True)
