"""The preparation of `buildbot container`; `tests/e2e/test_container.py` has its process."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import click
import pytest

from buildbot.scripts import settings
from buildbot.scripts.container import await_server, fetch, prepared


def packed(path: Path, **files: str) -> str:
    """An archive with these files; its URL."""
    archive = path / "config.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return archive.as_uri()


def test_fetch(tmp_path: Path) -> None:
    """A file is the configuration; an archive is unpacked without a common directory."""
    (tmp_path / "x").write_text("c = 1")
    fetch((tmp_path / "x").as_uri(), tmp_path / "a")
    assert (tmp_path / "a" / "master.cfg").read_text() == "c = 1"
    fetch(packed(tmp_path, **{"master.cfg": "1", "lib__x.py": "2"}), tmp_path / "b")
    fetch(packed(tmp_path, **{"repo-1__master.cfg": "1", "repo-1__lib__x.py": "2"}), tmp_path / "c")
    for name in ("b", "c"):
        assert (tmp_path / name / "master.cfg").read_text() == "1"
        assert (tmp_path / name / "lib" / "x.py").read_text() == "2"


def test_what_cannot_be_fetched(tmp_path: Path) -> None:
    """A missing file, no archive, and an archive with paths outside are refused; no token is shown."""
    (tmp_path / "bad.tar.gz").write_text("no archive")
    for url, why in (
        ((tmp_path / "nothing").as_uri(), "cannot be fetched"),
        ("http://joe:secret@127.0.0.1:1/x?token=secret", "cannot be fetched from http://127.0.0.1:1/x:"),
        ((tmp_path / "bad.tar.gz").as_uri(), "cannot be unpacked"),
        (packed(tmp_path, **{"a": "1", "..__b": "2"}), "cannot be unpacked"),
    ):
        with pytest.raises(click.ClickException, match=why) as caught:
            fetch(url, tmp_path / "c")
        assert "secret" not in caught.value.message
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("place", ["config", "."])
def test_prepared(tmp_path: Path, place: str) -> None:
    """A directory gets a buildbot.tac with the name of the configuration; an existing one is kept."""
    with pytest.raises(click.ClickException, match="there is no configuration"):
        prepared(tmp_path, tmp_path / "config")
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "master.cfg").touch()
    for _ in range(2):
        assert tmp_path / prepared(tmp_path, tmp_path / "config").settings.configfile == tmp_path / place / "master.cfg"
        (tmp_path / settings.FILE).write_text((tmp_path / settings.FILE).read_text() + "umask = 7\n")
    assert prepared(tmp_path, tmp_path / "config").settings.umask == 7


def test_no_server(tmp_path: Path) -> None:
    """A server that does not answer in time is an error with its reason; a file needs no server."""
    await_server("sqlite:///state.sqlite", tmp_path, 0)
    with pytest.raises(click.ClickException, match="the database cannot be used"):
        await_server("postgresql://x@127.0.0.1:1/x", tmp_path, 0)
