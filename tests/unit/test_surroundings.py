"""What ``script/test`` makes for a run of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.surroundings import MEMORY, room_in_memory, surroundings


def test_room(tmp_path: Path) -> None:
    """Memory is used where it is and where there is enough of it."""
    assert room_in_memory(tmp_path, 1)
    assert not room_in_memory(tmp_path, 1 << 60)
    assert not room_in_memory(tmp_path / "none", 1)


def test_a_directory_in_memory() -> None:
    """The command's files are in a directory in memory, which is gone afterwards, and its exit code is given."""
    if not room_in_memory(needed_bytes=1 << 20):
        pytest.skip("no room in memory on this machine")
    program = f"""
import os, sys, tempfile
from pathlib import Path
from tests.support.surroundings import main
os.environ.pop("TMPDIR", None)
child = "import os, tempfile; open(tempfile.mkstemp()[1]); print(os.environ['TMPDIR']); exit(7)"
code = main([sys.executable, "-c", child])
assert Path(tempfile.gettempdir()).parent == Path({str(MEMORY)!r})
assert not os.path.exists(tempfile.gettempdir())
sys.exit(code)
"""
    environment = os.environ | {"TENFOLD_TEST_BACKENDS": "sqlite"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith(str(MEMORY))


def test_servers_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that the environment names are used; others are looked for on this machine."""
    monkeypatch.setenv("TENFOLD_TEST_BACKENDS", "postgresql,mysql")
    monkeypatch.setenv("TENFOLD_TEST_MYSQL", "mysql://somebody@somewhere/mysql")
    monkeypatch.delenv("TENFOLD_TEST_POSTGRESQL", raising=False)
    with surroundings(in_memory=False) as told:
        assert told == {"TENFOLD_TEST_POSTGRESQL": "postgresql://postgres@127.0.0.1:5432/postgres"}
