"""Watchers at the end of a run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from buildbot.resources.builds import BUILD
from tests.exactness.records import Records
from tests.exactness.settings import Settings
from tests.exactness.sources import Following, Hear, Source, UnreachableError
from tests.exactness.watching import View, Watcher
from tests.support.reactor import reactor


class Cut(Following):
    """A subscription whose master is gone."""

    clock = 1
    lost = True

    def stop(self) -> None:
        """Nothing is open."""


class Gone(Source):
    """A master that has ended."""

    name = "sse"

    async def snapshot(self, path: Sequence[Any], options: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        """Refused."""
        raise UnreachableError

    async def follow(self, path: Sequence[Any], since: int, hear: Hear, is_single: bool = False) -> Following:
        """Refused."""
        raise UnreachableError


async def test_masters_that_have_ended(tmp_path: Path) -> None:
    """A watcher that was cut when the run ended tries once more, and ends; the masters do not come back."""
    settings = Settings("sqlite://", str(tmp_path), 1)
    settings.phase = "end"
    watcher = Watcher(Gone(), settings, Records(tmp_path, "watcher"), random.Random(1))
    watcher._view, watcher._following = View(BUILD, ("builds",)), Cut()
    begun = reactor.seconds()
    with pytest.raises(UnreachableError):
        await watcher._resume()
    assert reactor.seconds() - begun < 10
