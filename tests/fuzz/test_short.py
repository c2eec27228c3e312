"""``script/fuzz`` in short."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.campaign import attack
from tests.fuzz.farm import running_master
from tests.support.databases import selected_backends


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("backend", selected_backends())
def test_it_does_not_mind(backend: str, tmp_path: Path) -> None:
    """Hostile requests get no 500, leave no traceback in the log, and the master as quick and small as it was."""
    requests = 700 if backend == "sqlite" else 350  # what is before the database is the same
    with running_master(tmp_path, backend) as master:
        report = attack(master, requests, seed=4)
    assert report.problems == []
    assert {101, 200, 400, 404, 405, 414} <= set(report.statuses)
