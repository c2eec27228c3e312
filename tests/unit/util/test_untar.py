"""Archives that are not trusted."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from buildbot.util.untar import ArchiveError, move_into, unpack

Member = tuple[str, bytes | str | None]


def archive(path: Path, *members: Member, mode: str = "w") -> Path:
    """An archive of files (bytes), directories (None) and links (``"symlink TARGET"``, ``"link NAME"``)."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = 0o6777, 1000
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                kind, _, info.linkname = content.partition(" ")
                kinds = {"symlink": tarfile.SYMTYPE, "link": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE}
                info.type = kinds[kind]
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


@pytest.mark.parametrize(("mode", "compression"), [("w", None), ("w:gz", "gz"), ("w:bz2", "bz2")])
def test_unpack(tmp_path: Path, mode: str, compression: str | None) -> None:
    """Files, directories and links come as they are, without the rights of others to write and to act as the owner."""
    packed = archive(
        tmp_path / "a",
        (".", None), ("./d", None), ("d/f", b"content"), ("e/g", b""), ("l", "symlink d/f"),
        ("d/up", "symlink ../e/./g"), ("hard", "link d/f"), ("d/f2", b"first"), ("d/f2", b"second"),
        mode=mode,
    )  # fmt: skip
    target = tmp_path / "t"
    target.mkdir()
    unpack(packed, target, compression, 1000)
    assert (target / "l").read_text() == (target / "hard").read_text() == "content"
    assert os.readlink(target / "d" / "up") == "../e/./g" and (target / "d" / "up").read_text() == ""
    assert (target / "d" / "f2").read_text() == "second"
    assert (target / "d" / "f").stat().st_mode & 0o7777 == 0o755 == (target / "d").stat().st_mode & 0o7777
    assert (target / "d" / "f").stat().st_mtime == 1000


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([("/etc/x", b"")], "the name '/etc/x' leads out of the directory"),
        ([("../x", b"")], "leads out"),
        ([("a/../../x", None)], "leads out"),
        ([("a/..", None)], "leads out"),
        ([(".", b"x")], "a file of the name '.'"),
        ([("l", "symlink /etc")], "the link 'l' points out of the directory, to '/etc'"),
        ([("l", "symlink ..")], "points out"),
        ([("d/l", "symlink ../../x")], "points out"),
        ([("x", "symlink ."), ("y", "symlink x/x/..")], "points out"),
        ([("l", "symlink d"), ("d", None), ("l/f", b"x")], "the archive has 'l' twice"),
        ([("h", "link ../../etc/passwd")], "leads out"),
        ([("h", "link none")], "which is not in the archive"),
        ([("s", "symlink f"), ("h", "link s")], "which is not in the archive"),
        ([("p", "pipe")], "neither a file nor a directory nor a link"),
        ([("big", b"x" * 101)], "the archive holds more than 100 bytes of files"),
        ([("a", b"x" * 60), ("b", b"x" * 60)], "more than 100 bytes"),
        ([("/".join("d" * 101), None)], "more than 100 directories deep"),
    ],
)
def test_hostile(tmp_path: Path, members: list[Member], complaint: str) -> None:
    """Nothing is written outside of the directory, nor more than the limit; the error has the reason."""
    target = tmp_path / "inside" / "target"
    target.mkdir(parents=True)
    packed = archive(tmp_path / "a", *members)
    with pytest.raises(ArchiveError) as caught:
        unpack(packed, target, None, 100)
    assert complaint in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [packed, tmp_path / "inside"]
    assert list((tmp_path / "inside").iterdir()) == [target]


def test_link_to_a_link_stays_inside(tmp_path: Path) -> None:
    """Links may go through other links, as long as they only go down."""
    target = tmp_path / "t"
    target.mkdir()
    unpack(archive(tmp_path / "a", ("d/e/f", b"x"), ("l", "symlink d"), ("m", "symlink l/e/f")), target)
    assert (target / "m").read_text() == "x" and (target / "m").resolve() == target / "d" / "e" / "f"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def _rubbish(path: Path) -> None:
    path.write_bytes(b"rubbish" * 1000)


def _immense_header(path: Path) -> None:
    """A description of a gigabyte, in a few bytes of gzip."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf())
        file.write(b"\0" * 4096)


@pytest.mark.parametrize("damage", [_cut, _rubbish, _immense_header])
@pytest.mark.parametrize("compression", [None, "gz", "bz2"])
def test_damaged(tmp_path: Path, damage: Callable[[Path], None], compression: str | None) -> None:
    """An invalid or incomplete archive, or one with very long headers, is an error."""
    packed = archive(tmp_path / "a", ("f", b"x" * 5000), mode=f"w:{compression or ''}")
    damage(packed)
    target = tmp_path / "t"
    target.mkdir()
    with pytest.raises(ArchiveError, match=r"the archive (is damaged|describes a file at immense length)"):
        unpack(packed, target, compression)


def test_move_into(tmp_path: Path) -> None:
    """Directories are joined, files and links replaced, and nothing goes through a link that is there."""
    new, old, outside = tmp_path / "new", tmp_path / "old", tmp_path / "outside"
    for directory in (new / "both", new / "link", new / "fresh", old / "both", outside):
        directory.mkdir(parents=True)
    for path in (new / "both" / "f", new / "link" / "f", new / "fresh" / "f", new / "file"):
        path.write_text("new")
    for path in (old / "both" / "f", old / "both" / "kept", old / "file"):
        path.write_text("old")
    (old / "link").symlink_to(outside)
    move_into(new, old)
    assert (old / "both" / "f").read_text() == (old / "link" / "f").read_text() == (old / "file").read_text() == "new"
    assert (old / "both" / "kept").read_text() == "old" and (old / "fresh" / "f").exists()
    assert list(outside.iterdir()) == []
    (new / "both").rmdir()
    (new / "both").write_text("a file")
    with pytest.raises(FileExistsError, match="a directory is in the way"):
        move_into(new, old)
