"""Following a log sees every line once, also while it is rotated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from buildbot.scripts.logfile import Follower


def test_from_now_on(tmp_path: Path) -> None:
    """Earlier lines are skipped; a line is given when it is complete."""
    log = tmp_path / "twistd.log"
    log.write_text("old\n")
    follower = Follower(log)
    with log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert list(follower.lines()) == ["one"]
        file.write("o\n")
    assert list(follower.lines()) == ["two"]
    assert list(follower.lines()) == []


def test_not_there_yet(tmp_path: Path) -> None:
    """A log that is made later is read from its first line."""
    follower = Follower(tmp_path / "twistd.log")
    assert list(follower.lines()) == []
    (tmp_path / "twistd.log").write_text("one\n")
    assert list(follower.lines()) == ["one"]


def test_rotation(tmp_path: Path) -> None:
    """Lines at the end of a rotated log are seen before those of the new one."""
    log = tmp_path / "twistd.log"
    log.write_text("")
    follower = Follower(log)
    log.write_text("one\n")
    log.rename(tmp_path / "twistd.log.1")
    assert list(follower.lines()) == ["one"]
    log.write_text("two\n")
    assert list(follower.lines()) == ["two"]


def test_not_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 do not end the reading."""
    follower = Follower(tmp_path / "twistd.log")
    (tmp_path / "twistd.log").write_bytes(b"\xff\n")
    assert list(follower.lines()) == ["\N{REPLACEMENT CHARACTER}"]


def test_secrets(tmp_path: Path) -> None:
    """A secret that was read is never in the log, also not in tracebacks."""
    program = f"""
from pathlib import Path
from twisted.logger import Logger
from buildbot.scripts.logfile import begin
from buildbot.scripts.settings import Settings
from buildbot.util.redaction import known

begin(Path({str(tmp_path / "twistd.log")!r}), Settings())
known.add("hush hush", "token")
log = Logger()
log.info("a line with {{word}}", word="hush hush")
try:
    raise ValueError("hush hush")
except ValueError:
    log.failure("it failed")
print("hush hush")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    text = (tmp_path / "twistd.log").read_text()
    assert "hush" not in text and text.count("<token>") == 3
