"""Fixtures for change sources."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.process import reapAllProcesses

from tests.support.reactor import reactor
from tests.unit.changes.repository import Repository


@pytest.fixture(autouse=True)
def child_processes() -> Iterator[None]:
    """Notice the end of child processes: the test reactor runs without signal handlers of its own."""
    before = signal.signal(signal.SIGCHLD, lambda *_: reactor.callFromThread(reapAllProcesses))
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository."""
    return Repository(tmp_path / "repository.git")
