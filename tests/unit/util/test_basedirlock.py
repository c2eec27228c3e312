"""One process per directory, for as long as that process lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from buildbot.util.basedirlock import BasedirBusyError, BasedirLock, is_locked


def test_exclusive(tmp_path: Path) -> None:
    """A second holder is refused until the first lets go; nothing is left in the directory."""
    lock = BasedirLock(tmp_path)
    assert not is_locked(tmp_path)
    with lock:
        assert is_locked(tmp_path)
        with pytest.raises(BasedirBusyError):
            BasedirLock(tmp_path).acquire()
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_inherited(tmp_path: Path) -> None:
    """A child that was handed the lock keeps it when its parent lets go, and lets go when it ends."""
    with BasedirLock(tmp_path) as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.fileno(),))
    assert is_locked(tmp_path)
    child.communicate(b"\n")
    assert not is_locked(tmp_path)


def test_not_inherited_by_accident(tmp_path: Path) -> None:
    """A child that was not handed the lock, as git is not, does not keep it."""
    with BasedirLock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not is_locked(tmp_path)
    child.communicate(b"\n")


def test_missing_directory(tmp_path: Path) -> None:
    """A directory that is not there cannot be locked."""
    with pytest.raises(FileNotFoundError):
        is_locked(tmp_path / "missing")
