"""The measurement of imports, on a small database."""

from __future__ import annotations

from pathlib import Path

from bench import imports


def test_small(tmp_path: Path) -> None:
    """All rows are imported, and the second run imports the added ones."""
    found = imports.measure("sqlite", tmp_path, 100)
    # one of buildset, set, member, request, build, log and chunk; steps and properties
    assert found.rows >= 100 * (7 + imports.STEPS + imports.PROPERTIES)
    assert (found.builds, found.again) == (100, 1) and found.cpu_seconds > 0 and found.megabytes > 10
    assert imports.table(found).startswith("100 builds, ")
    assert list(tmp_path.iterdir()) == []
