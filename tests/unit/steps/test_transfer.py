"""Steps that transfer files between worker and master, also with malicious workers."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Interpolate, Property
from buildbot.steps.transfer import (
    DirectoryUpload,
    FileDownload,
    FileUpload,
    JSONPropertiesDownload,
    JSONStringDownload,
    MultipleFileUpload,
    StringDownload,
)
from buildbot.test.steps import StepHarness
from buildbot.util.results import EXCEPTION, FAILURE, SKIPPED, SUCCESS
from tests.support.steps import run

Script = Callable[[str, dict[str, Any]], Any]
DIRECTORY, FILE, PIPE = ([("stat", (kind | 0o755, *range(9)))] for kind in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFIFO))


def tar(mode: str = "w", /, **files: bytes) -> bytes:
    """An archive of files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as file:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def sends(*blocks: Any, rc: int = 0, end: bool = True, times: Any = None) -> Script:
    """An agent that uploads these blocks in answer to any command."""

    def script(name: str, args: dict[str, Any]) -> Any:
        for block in blocks:
            args["writer"].write(block)
        if end:
            args["writer"].unpack() if name == "uploadDirectory" else args["writer"].close()
        if times is not None:
            args["writer"].utime(times)
        return [("stderr", "no\n")] if rc else [], rc

    return script


def nothing_but(directory: Path, **files: bytes) -> bool:
    """Whether a directory holds these files and no others, nor unfinished files."""
    found = {
        str(path.relative_to(directory)).replace("/", "__"): path.read_bytes()
        for path in directory.rglob("*")
        if not path.is_dir()
    }
    return found == files


async def test_file_upload(tmp_path: Path) -> None:
    """A file is uploaded completely, with mode and times, and the step shows its link."""
    step = FileUpload(
        "out/b.txt", Interpolate("up/%(prop:workername)s.txt"), maxsize=10, mode=0o640, keepstamp=True,
        url="http://there/u", urlText="the file",
    )  # fmt: skip
    farm, (row,) = await run(step, directory=tmp_path, script=sends(b"hello ", b"you\n", times=(5, 1000.5)))
    path = tmp_path / "up" / "w.txt"
    assert (row["results"], row["state_string"]) == (SUCCESS, "uploading b.txt")
    assert row["urls"] == [{"name": "the file", "url": "http://there/u"}]
    assert path.read_bytes() == b"hello you\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and path.stat().st_mtime == 1000.5
    ((name, args),) = farm.connection.started
    assert name == "uploadFile" and args.pop("writer")
    assert args == {
        "workdir": "build", "workersrc": "out/b.txt", "maxsize": 11, "blocksize": 262144, "keepstamp": True
    }  # fmt: skip
    assert "program finished with exit code 0" in farm.master.text(2)


async def test_umask(tmp_path: Path) -> None:
    """A file without a mode has the permissions of the master's own files."""
    before = os.umask(0o027)
    try:
        await run(FileUpload("b", "u"), directory=tmp_path, script=sends(b"x"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "u").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (sends(b"12345", b"6"), "uploading b: the worker sent more than 5 bytes"),
        (sends(b"12", end=False), "uploading b: the worker did not say that the file is complete"),
        (sends("text"), "the worker sent str as a part of the file, not bytes"),
        (sends(b"12", times=(float("nan"), 1)), "as the times of the file"),
        (sends(b"12", times="x"), "as the times of the file"),
        (sends(b"12", rc=1), "uploading b"),
        (sends(rc=1, end=False), "uploading b"),
    ],
)
@pytest.mark.parametrize("before", [None, b"old"])
async def test_bad_file_upload(tmp_path: Path, script: Script, complaint: str, before: bytes | None) -> None:
    """An incomplete file does not appear; an older file stays unchanged."""
    if before is not None:
        (tmp_path / "u").write_bytes(before)
    farm, (row,) = await run(FileUpload("b", "u", maxsize=5, url="http://u"), directory=tmp_path, script=script)
    assert row["results"] == FAILURE and complaint in row["state_string"] and row["urls"] == []
    assert nothing_but(tmp_path, **({} if before is None else {"u": before}))
    if ":" in complaint:
        assert f"e{complaint.split(': ')[1]}" in farm.master.text(2)
        assert farm.connection.interrupted or "did not say" in complaint


async def test_worker_lost_during_an_upload(tmp_path: Path) -> None:
    """A file whose worker is lost leaves nothing."""

    def script(name: str, args: dict[str, Any]) -> Any:
        args["writer"].write(b"half")
        farm.connection.closed("gone")
        return [], None

    farm = StepHarness(FileUpload("b", "u"), script=script)
    farm.master.basedir = tmp_path
    await farm.run()
    assert nothing_but(tmp_path)


async def test_more_after_the_end(tmp_path: Path) -> None:
    """Data that a worker sends after the end of its command is ignored."""
    kept: list[Any] = []

    def script(name: str, args: dict[str, Any]) -> Any:
        kept.append(args["writer"])
        return sends(b"x")(name, args)

    await run(FileUpload("b", "u"), directory=tmp_path, script=script)
    kept[0].write(b"more")
    kept[0].utime((1, 1))
    assert nothing_but(tmp_path, u=b"x")


async def test_place_that_cannot_be(tmp_path: Path) -> None:
    """A path that cannot be written fails the step before it asks the worker."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "directory").mkdir()
    farm, (row,) = await run(FileUpload("b", "file/u"), directory=tmp_path, script=sends(b"x"))
    assert row["results"] == EXCEPTION and farm.connection.started == []
    farm, (row,) = await run(FileUpload("b", "directory"), directory=tmp_path, script=sends(b"x"))
    assert row["results"] == FAILURE and "Is a directory" in row["state_string"]
    assert nothing_but(tmp_path, file=b"x")


@pytest.mark.parametrize(("compress", "mode"), [(None, "w"), ("gz", "w:gz"), ("bz2", "w:bz2")])
async def test_directory_upload(tmp_path: Path, compress: str | None, mode: str) -> None:
    """A directory is uploaded with its content into an existing one."""
    (tmp_path / "up" / "d").mkdir(parents=True)
    (tmp_path / "up" / "d" / "kept").write_text("kept")
    (tmp_path / "up" / "a").write_text("old")
    packed = tar(mode, a=b"new", d__f=b"deep")
    step = DirectoryUpload(workersrc="out/site/", masterdest="up", compress=compress, url="http://u", maxsize=100_000)
    farm, (row,) = await run(step, directory=tmp_path, script=sends(packed[:10], packed[10:]))
    assert (row["results"], row["state_string"]) == (SUCCESS, "uploading site")
    assert row["urls"] == [{"name": "up", "url": "http://u"}]
    assert nothing_but(tmp_path, up__a=b"new", up__d__f=b"deep", up__d__kept=b"kept")
    ((name, args),) = farm.connection.started
    assert name == "uploadDirectory" and args.pop("writer")
    assert args == {
        "workdir": "build", "workersrc": "out/site/", "maxsize": 100_001, "blocksize": 16384, "compress": compress
    }  # fmt: skip


@pytest.mark.parametrize(
    ("packed", "complaint"),
    [
        (tar("w", **{"..__x": b"x"}), "leads out of the directory"),
        (tar(__etc__x=b"x"), "leads out of the directory"),
        (b"rubbish" * 100, "the archive is damaged"),
        (tar(f=b"x" * 30_000), "the worker sent more than 20000 bytes"),
    ],
)
async def test_bad_directory_upload(tmp_path: Path, packed: bytes, complaint: str) -> None:
    """A directory that must not be unpacked leaves nothing anywhere."""
    target = tmp_path / "master" / "up"
    target.mkdir(parents=True)
    (target / "f").write_text("old")
    step = DirectoryUpload("d", "up", maxsize=20_000)
    _, (row,) = await run(step, directory=tmp_path / "master", script=sends(packed))
    assert row["results"] == FAILURE and complaint in row["state_string"]
    assert nothing_but(tmp_path, master__up__f=b"old")


async def test_directory_that_grows(tmp_path: Path) -> None:
    """The limit applies to the unpacked size, too."""
    packed = tar("w:gz", f=b"\0" * 1_000_000)
    assert len(packed) < 20_000
    step = DirectoryUpload("d", "up", maxsize=20_000, compress="gz")
    _, (row,) = await run(step, directory=tmp_path, script=sends(packed))
    assert row["results"] == FAILURE and "holds more than 20000 bytes of files" in row["state_string"]
    assert nothing_but(tmp_path) and list(tmp_path.iterdir()) == []


async def test_multiple_file_upload(tmp_path: Path) -> None:
    """Files and directories are uploaded under their own names; hooks are called for each and for all."""
    told: list[Any] = []

    class Tells(MultipleFileUpload):
        def uploadDone(self, result: int, source: str, masterdest: str) -> None:
            told.append((result, source, masterdest))

        def allUploadsDone(self, result: int, sources: Any, masterdest: str) -> None:
            told.append((result, sources, masterdest))

    def script(name: str, args: dict[str, Any]) -> Any:
        if name == "stat":
            return (DIRECTORY if "dir" in args["file"] else FILE), 0
        return sends(tar(g=b"g") if name == "uploadDirectory" else args["workersrc"].encode())(name, args)

    step = Tells(workersrcs=["a/f.txt", "a/dir", "/b/h"], masterdest="m", url="http://m")
    farm, (row,) = await run(step, directory=tmp_path, script=script)
    assert (row["results"], row["state_string"], row["urls"]) == (
        SUCCESS, "uploading 3 files", [{"name": "m", "url": "http://m"}]
    )  # fmt: skip
    assert nothing_but(tmp_path, **{"m__f.txt": b"a/f.txt", "m__dir__g": b"g", "m__h": b"/b/h"})
    assert told == [
        (SUCCESS, "a/f.txt", "m"), (SUCCESS, "a/dir", "m"), (SUCCESS, "/b/h", "m"),
        (SUCCESS, ["a/f.txt", "a/dir", "/b/h"], "m"),
    ]  # fmt: skip
    assert farm.connection.started[0] == ("stat", {"file": "a/f.txt", "workdir": "build"})


@pytest.mark.parametrize(
    ("kind", "rc", "said"), [(FILE, 2, "'a' not available at worker"), (PIPE, 0, "'a' neither a file nor a directory")]
)
async def test_missing_source(tmp_path: Path, kind: Any, rc: int, said: str) -> None:
    """A missing source fails the step, and later sources are not asked for."""
    step = MultipleFileUpload(workersrcs=["a", "b"], masterdest="m")
    farm, (row,) = await run(step, directory=tmp_path, script=lambda name, args: (kind, rc))
    assert row["results"] == FAILURE and len(farm.connection.started) == 1
    assert said in farm.master.text(2, "stderr")


async def test_glob(tmp_path: Path) -> None:
    """Patterns are expanded on the worker; the uploads have the last parts of the paths as names."""

    def script(name: str, args: dict[str, Any]) -> Any:
        if name == "glob":
            return [("files", ["/w/b/../x/2", "/w/b/1"] if args["path"] == "build/*" else [])], 0
        return (FILE, 0) if name == "stat" else sends(b"x")(name, args)

    steps = [
        MultipleFileUpload(workersrcs="*", masterdest="m", glob=True),
        MultipleFileUpload(workersrcs=["none"], masterdest="m", glob=True),
        MultipleFileUpload(workersrcs=[], masterdest="m"),
    ]
    farm, rows = await run(*steps, directory=tmp_path, script=script)
    assert [(row["results"], row["state_string"]) for row in rows] == [
        (SUCCESS, "uploading 2 files"),
        (SKIPPED, "uploading 0 files (skipped)"),
        (SKIPPED, "uploading 0 files (skipped)"),
    ]
    assert nothing_but(tmp_path, m__1=b"x", m__2=b"x")
    assert farm.connection.started[0] == ("glob", {"path": "build/*", "logEnviron": False})


@pytest.mark.parametrize("found", ["/w/..", "..", "/", "", "/w/.", "a\0b"])
async def test_names_that_are_none(tmp_path: Path, found: str) -> None:
    """Names such as ``..`` from a worker are refused."""

    def script(name: str, args: dict[str, Any]) -> Any:
        if name == "glob":
            return [("files", [found])], 0
        return (FILE, 0) if name == "stat" else sends(b"x")(name, args)

    step = MultipleFileUpload(workersrcs="*", masterdest="m", glob=True)
    _, (row,) = await run(step, directory=tmp_path, script=script)
    assert (
        row["results"] == FAILURE
        and "does not end with a name that a file on the master can have" in row["state_string"]
    )
    assert nothing_but(tmp_path)


class Taker:
    """An agent that reads a download in blocks."""

    def __init__(self, rc: int = 0) -> None:
        self.rc = rc
        self.contents: list[bytes] = []
        self.args: list[dict[str, Any]] = []

    def __call__(self, name: str, args: dict[str, Any]) -> Any:
        assert name == "downloadFile"
        content = b""
        while block := args["reader"].read(args["blocksize"]).result:
            content += block
        args["reader"].close()
        self.contents.append(content)
        self.args.append({key: value for key, value in args.items() if key != "reader"})
        return [], self.rc


async def test_downloads(tmp_path: Path) -> None:
    """A file, a text and JSON are written on the worker, with the arguments."""
    (tmp_path / "f").write_bytes(b"\0file" * 5000)
    taker = Taker()
    steps = [
        FileDownload("f", "in/w.txt", mode=0o600, maxsize=30_000, blocksize=1_000_000),
        StringDownload(Interpolate("t\u00fc %(prop:workername)s"), "s", workdir="other"),
        StringDownload(b"\xff", workerdest="b"),
        JSONStringDownload({"a": [Property("workername")]}, "j"),
    ]
    _, rows = await run(*steps, directory=tmp_path, script=taker)
    assert [(row["name"], row["state_string"], row["results"]) for row in rows] == [
        ("download", "downloading to w.txt", SUCCESS),
        ("string_download", "downloading to s", SUCCESS),
        ("string_download_1", "downloading to b", SUCCESS),
        ("json_download", "downloading to j", SUCCESS),
    ]
    assert taker.contents == [b"\0file" * 5000, "tü w".encode(), b"\xff", b'{"a": ["w"]}']
    assert taker.args[0] == {
        "workdir": "build", "workerdest": "in/w.txt", "maxsize": 30_001, "blocksize": 655360, "mode": 0o600
    }  # fmt: skip
    assert taker.args[1] == {
        "workdir": "other", "workerdest": "s", "maxsize": None, "blocksize": 16384, "mode": None
    }  # fmt: skip


async def test_properties_download(tmp_path: Path) -> None:
    """The properties and source stamps of the build, as JSON that other programs read."""
    taker = Taker()
    farm = StepHarness(JSONPropertiesDownload("p.json"), script=taker, properties={"mine": [1]})
    patch = {"body": "+\u00fc", "level": 1, "subdir": "s", "author": "a", "comment": "c"}
    await farm.run(branch="main", revision="r", patch_body=patch["body"], patch_level=1, patch_subdir="s",
                   patch_author="a", patch_comment="c")  # fmt: skip
    found = json.loads(taker.contents[0])
    assert list(found["properties"]) == sorted(found["properties"])
    assert (found["properties"]["mine"], found["properties"]["workername"]) == ([1], "w")
    (stamp,) = found["sourcestamps"]
    assert stamp == {
        "branch": "main", "revision": "r", "repository": "", "project": "", "codebase": "",
        **{f"patch_{name}": value for name, value in patch.items()},
    }  # fmt: skip


async def test_missing_file_of_the_master(tmp_path: Path) -> None:
    """A missing file fails the step without a command to the worker."""
    farm, (row,) = await run(FileDownload("none", "w"), directory=tmp_path, script=Taker())
    assert row["results"] == FAILURE and farm.connection.started == []
    assert f"File '{tmp_path}/none' not available at master" in farm.master.text(2, "stderr")
    assert "No such file" in row["state_string"]


@pytest.mark.parametrize("size", [-1, 0, "x", None, 10**15])
async def test_worker_that_asks_for_too_much(tmp_path: Path, size: Any) -> None:
    """Blocks that a worker asks for have a limited size."""
    (tmp_path / "f").write_bytes(b"x" * 1_000_000)

    def script(name: str, args: dict[str, Any]) -> Any:
        assert len(args["reader"].read(size).result) in (0, 655360)
        return [], 0

    farm, (row,) = await run(FileDownload("f", "w"), directory=tmp_path, script=script)
    assert (row["results"] == SUCCESS) == (size == 10**15)
    if row["results"] == FAILURE:
        assert f"the worker asked for {size!r} bytes" in farm.master.text(2)


async def test_failed_download(tmp_path: Path) -> None:
    """A worker that cannot write the file fails the step."""
    _, (row,) = await run(StringDownload("x", "w"), directory=tmp_path, script=Taker(rc=1))
    assert (row["results"], row["state_string"]) == (FAILURE, "downloading to w (failure)")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: FileUpload(workersrc="a"), "FileUpload: argument 'masterdest' is missing"),
        (lambda: FileUpload("a", ""), "masterdest must be a text that is not empty, not ''"),
        (lambda: FileUpload("a", "b", mode="0644"), "mode must be a whole number, not '0644'"),
        (lambda: FileUpload("a", "b", mode=0o10000), "mode must be permission bits such as 0o644, not 4096"),
        (lambda: FileUpload("a", "b", blocksize=0), "blocksize must be at least 1, not 0"),
        (lambda: FileUpload("a", "b", maxsize=-1), "maxsize must be at least 0, not -1"),
        (lambda: DirectoryUpload("a", "b", compress="xz"), "compress must be one of None, 'gz', 'bz2', not 'xz'"),
        (lambda: MultipleFileUpload([5], "b"), "workersrcs element 1 must be a string, not 5"),
        (lambda: StringDownload(5, "b"), "s must be a text or bytes, not 5"),
        (lambda: JSONStringDownload({1, 2}, "b"), "o must be JSON: Object of type set is not JSON serializable"),
        (lambda: FileDownload("a", workerdest=None), "workerdest must be a text"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name them."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint in str(caught.value)
