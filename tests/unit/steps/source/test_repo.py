"""The Repo step with a program that records its calls: the real one downloads itself at its first use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import steps, util
from buildbot.process.properties import Property
from buildbot.steps.source.repo import Repo
from buildbot.util.results import FAILURE, SUCCESS
from tests.support.local_worker import LocalFarm, built

SCRIPT = """#!/bin/sh
echo "$PWD: repo $*" | sed 's,^.*/runtests/,,' >> {calls}
case "$1" in
  init) mkdir -p .repo; touch .repo/manifest.xml;;
  sync) test -e {broken} && {{ echo "fatal: no such server" >&2; echo "more" >&2; exit 1; }}; touch synced;;
esac
exit 0
"""


@pytest.fixture
def calls(farm: LocalFarm, tmp_path: Path) -> Path:
    """The calls of ``repo``, which the worker finds in its PATH."""
    program, calls = tmp_path / "bin" / "repo", tmp_path / "calls"
    program.parent.mkdir()
    program.write_text(SCRIPT.format(calls=calls, broken=tmp_path / "broken"))
    program.chmod(0o755)
    farm.connection.environment["PATH"] = f"{program.parent}:/usr/bin:/bin"
    return calls


async def test_sync(farm: LocalFarm, calls: Path) -> None:
    """The commands of repo are in order, and files of an earlier build are removed."""
    await farm.start(
        Repo("https://m/", manifestBranch="b", manifestFile="f.xml", jobs=4, depth=1, submodules=True, syncQuietly=True)
    )
    assert await built(farm) == (SUCCESS, "update")
    forall, init, sync, manifest = calls.read_text().splitlines()
    assert forall.startswith("build: repo forall -c git am --abort")
    assert init == "build: repo init -u https://m/ -b b -m f.xml --depth 1 --submodules"
    assert sync == "build: repo sync --force-sync -j4 -c -q"
    assert manifest == "build: repo manifest -r -o manifest-original.xml"
    assert "got_revision" not in farm.master.build(1)["properties"]
    (farm.directory / "kept").touch()
    assert (await built(farm))[0] == SUCCESS and (farm.directory / "kept").exists()


async def test_logins_in_addresses(farm: LocalFarm, calls: Path, tmp_path: Path) -> None:
    """They are not logged; wget reads its address from its input, which other users cannot read."""
    wget = calls.parent / "bin" / "wget"
    wget.write_text('#!/bin/sh\nread -r url; test "$url" = https://jo:s3cret@m/x || { echo "no $url" >&2; exit 1; }\n')
    wget.chmod(0o755)
    override = Property("override", default="https://jo:s3cret@m/x")
    await farm.start(Repo("https://jo:s3cret@m/", manifestOverrideUrl=override))
    assert await built(farm) == (SUCCESS, "update")
    assert "init -u https://jo:s3cret@m/" in calls.read_text()
    assert not [each for each in farm.connection.arguments if each.endswith("s3cret@m/x")]
    other = {"override": ("https://jo:s3cret@m/y", "Force")}
    assert await built(farm, properties=other) == (FAILURE, "wget: no https://m/y (failure)")
    assert "s3cret" not in farm.master.text(2)


async def test_downloads(farm: LocalFarm, calls: Path) -> None:
    """Patch sets in properties are applied, and listed in a property."""
    await farm.start(
        Repo(
            manifestURL="https://m/", syncAllBranches=True, repoDownloads=util.repo.DownloadsFromProperties(["a", "b"])
        )
    )
    properties = {"a": ("repo download p/q 12/3\nnothing\n", "Force"), "b": ("r/45/6", "Force")}
    assert await built(farm, properties=properties) == (SUCCESS, "update: p/q 12/3, r 45/6")
    downloads = [line for line in calls.read_text().splitlines() if "download" in line]
    assert downloads == ["build: repo download p/q 12/3", "build: repo download r 45/6"]
    assert farm.master.build(1)["properties"]["repo_downloaded"] == ("p/q 12/3 r 45/6", "Repo")


async def test_downloads_of_changes(farm: LocalFarm, calls: Path) -> None:
    """Patch sets among the build's changes are applied."""
    await farm.start(Repo(manifestURL="https://m/", repoDownloads=util.repo.DownloadsFromChangeSource("")))
    event = {"event.type": "patchset-created", "event.change.project": "p", "event.change.number": 12,
             "event.patchSet.number": 3}  # fmt: skip
    changes = [{"revision": "1", "branch": "b", "properties": event}]
    assert await built(farm, changes=changes, revision="1", branch="b") == (SUCCESS, "update: p 12/3")


async def test_archive_and_override(farm: LocalFarm, calls: Path, tmp_path: Path) -> None:
    """An archive of ``.repo`` is made, and unpacked by the next checkout; another manifest replaces the first."""
    (tmp_path / "override.xml").write_text("<manifest/>")
    archive = tmp_path / "repo.tar.gz"
    await farm.start(
        Repo(manifestURL="https://m/", tarball=str(archive), manifestOverrideUrl=str(tmp_path / "override.xml"))
    )
    assert (await built(farm))[0] == SUCCESS
    assert archive.exists() and (farm.directory / ".repo" / "manifest.xml").read_text() == "<manifest/>"
    made = archive.stat().st_mtime_ns
    shutil.rmtree(farm.directory)
    assert (await built(farm))[0] == SUCCESS
    assert ".repo/manifest.xml" in farm.master.text(4) and archive.stat().st_mtime_ns == made


async def test_failures(farm: LocalFarm, calls: Path, tmp_path: Path) -> None:
    """Errors of repo and git, and a wrong patch set, fail the step with a text."""
    await farm.start(Repo(manifestURL="https://m/", repoDownloads=Property("downloads")))
    text = "repoDownloads: not a project and a patch set, as in 'project 12/3': '--exec=x 1/2' (failure)"
    assert await built(farm, properties={"downloads": (["--exec=x 1/2"], "Force")}) == (FAILURE, text)
    (tmp_path / "broken").touch()
    assert await built(farm) == (FAILURE, "repo sync: fatal: no such server (failure)")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "Repo: argument 'manifestURL' is missing"),
        ({"manifestURL": "x", "jobs": 0}, "jobs must be at least 1"),
        ({"manifestURL": "x", "repoDownloads": "p 1/2"}, "repoDownloads must be a list"),
        ({"manifestURL": "x", "updateTarballAge": "week"}, "updateTarballAge must be a number"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration."""
    with pytest.raises(ConfigErrors, match=complaint):
        Repo(**arguments)


def test_plugin_name() -> None:
    assert steps.Repo is Repo
