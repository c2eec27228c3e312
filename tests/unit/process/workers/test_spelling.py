"""Commands as steps spell them, in MessagePack's spelling."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.process.workers.connection import RemoteError
from buildbot.process.workers.spelling import Place, spelled
from buildbot.process.workers.transfers import MemoryReader, MemoryWriter

POSIX = Place("/w", "b", "posix", "/home/w")
NT = Place("C:\\w", "b", "nt", "C:\\Users\\w")
READER, WRITER = MemoryReader(b""), MemoryWriter(1)


@pytest.mark.parametrize(
    ("place", "name", "args", "sent"),
    [
        (POSIX, "shell", {"workdir": "build"}, {"workdir": "/w/b/build"}),
        (POSIX, "shell", {"workdir": ""}, {"workdir": "/w/b"}),
        (POSIX, "shell", {"workdir": "/elsewhere"}, {"workdir": "/elsewhere"}),
        (NT, "shell", {"workdir": "build"}, {"workdir": "C:\\w\\b\\build"}),
        (NT, "shell", {"workdir": "D:\\x"}, {"workdir": "D:\\x"}),
        (POSIX, "mkdir", {"dir": "x"}, {"paths": ["/w/b/x"]}),
        (POSIX, "rmdir", {"dir": ["x", "/y"], "timeout": 5}, {"paths": ["/w/b/x", "/y"], "timeout": 5}),
        (POSIX, "cpdir", {"fromdir": "x", "todir": "y"}, {"from_path": "/w/b/x", "to_path": "/w/b/y"}),
        (POSIX, "stat", {"workdir": "build", "file": "f"}, {"path": "/w/b/build/f"}),
        (POSIX, "stat", {"file": "f"}, {"path": "/w/b/f"}),
        (POSIX, "rmfile", {"path": "~/f"}, {"path": "/home/w/f"}),
        (POSIX, "rmfile", {"path": "~f"}, {"path": "/w/b/~f"}),
        (NT, "rmfile", {"path": "~\\f"}, {"path": "C:\\Users\\w\\f"}),
        (Place("/w"), "rmfile", {"path": "~/f"}, {"path": "/w/~/f"}),
        (POSIX, "downloadFile", {"workdir": "build", "workerdest": "f", "reader": READER, "mode": 0o600},
         {"path": "/w/b/build/f", "mode": 0o600}),
        (POSIX, "uploadFile", {"workdir": "build", "workersrc": "~", "writer": WRITER}, {"path": "/home/w"}),
    ],
)  # fmt: skip
def test_paths(place: Place, name: str, args: dict[str, Any], sent: dict[str, Any]) -> None:
    """They are absolute, by the rules of the worker's system; the ends of transfers stay here."""
    given = {"command": "x", **args} if name == "shell" else args
    made = spelled(name, given, place)
    assert {key: value for key, value in made.args.items() if key != "command"} == sent
    assert made.transfer is args.get("reader", args.get("writer"))
    assert made.name == {"downloadFile": "download_file", "uploadFile": "upload_file"}.get(name, name)
    assert ("paths" not in given and "path" not in given) or name in ("rmfile",)  # the given arguments are not changed


def test_hidden_arguments() -> None:
    """The command has the real argument; headers have the replacement."""
    made = spelled("shell", {"workdir": "", "command": ["svn", ("obfuscated", "s3cret", "XXXXXX")]}, POSIX)
    assert made.args["command"] == ["svn", "s3cret"]
    assert made.shown("svn s3cret\nargv: ['svn', 's3cret']\n") == "svn XXXXXX\nargv: ['svn', 'XXXXXX']\n"


def test_stdin() -> None:
    """Text goes as it is; other bytes are decoded by the worker's shell, which no agent on Windows has."""
    args = {"workdir": "", "command": ["dd", ("obfuscated", "of=x", "XX")], "initial_stdin": "ü".encode()}
    assert spelled("shell", args, NT).args["initial_stdin"] == "ü"
    made = spelled("shell", {**args, "initial_stdin": b"\xff"}, POSIX)
    assert made.args["command"][:2] == ["/bin/sh", "-c"] and made.args["command"][-3:] == ["sh", "dd", "of=x"]
    assert made.args["initial_stdin"] == "/w==\n" and made.hidden == {"of=x": "XX"}
    with pytest.raises(RemoteError, match="agents on Windows take only text"):
        spelled("shell", {**args, "initial_stdin": b"\xff"}, NT)


@pytest.mark.parametrize(
    ("name", "args", "complaint"),
    [
        ("dance", {}, "there is no command 'dance'; agents know shell, mkdir"),
        ("mkdir", {}, "command 'mkdir' needs the argument 'dir'"),
        ("uploadFile", {"workdir": "", "workersrc": "x"}, "command 'uploadFile' needs the argument 'writer'"),
        ("mkdir", {"dir": [3]}, "command 'mkdir' has an argument of the wrong type"),
    ],
)
def test_mistakes(name: str, args: dict[str, Any], complaint: str) -> None:
    """Arguments that cannot be spelled are refused as an agent would refuse them."""
    with pytest.raises(RemoteError, match=complaint):
        spelled(name, args, POSIX)
