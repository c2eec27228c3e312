"""Permissions of a database's file."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from buildbot.db.dialects import dialect_for


@pytest.mark.parametrize(
    ("directory_mode", "mode", "told"), [(0o755, 0o644, 1), (0o755, 0o640, 0), (0o700, 0o644, 0), (0o755, None, 0)]
)
def test_a_database_that_everybody_may_read(tmp_path: Path, directory_mode: int, mode: int | None, told: int) -> None:
    """The permissions of an existing file stay, with one warning if others may read it; a new one is private."""
    path = tmp_path / "master" / "state.sqlite"
    path.parent.mkdir()
    path.parent.chmod(directory_mode)
    if mode is not None:
        path.touch()
        path.chmod(mode)
    engine = dialect_for(f"sqlite:///{path}").create_engine()
    with capturedLogs() as logs:
        for _ in range(2):
            engine.raw_connection().detach()
    engine.dispose()
    assert [each["path"] for each in logs if "may read the database" in each["log_format"]] == [str(path)] * told
    assert path.stat().st_mode & 0o777 == (0o600 if mode is None else mode)
