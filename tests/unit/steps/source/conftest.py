"""Fixtures for source steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.agents import Repository
from tests.support.local_worker import LocalFarm
from tests.support.reactor import run


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[LocalFarm]:
    """A builder and a worker that runs real programs."""
    farm = LocalFarm(tmp_path)
    yield farm
    run(farm.stop())


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with two commits."""
    return Repository(tmp_path / "repository")
