"""Makes this project's tables in an empty database: ``python -m bench.actors.schema DATABASE_URL``."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import react

from buildbot.master import openMaster


async def _make(url: str) -> None:
    master = await openMaster(url, name="bench", upgrade=True)
    await master.data.update.masterActive()
    await master.close()


def main(reactor: Any, url: str) -> Deferred[None]:
    """Migrate, and register the master whose name all benchmarks use."""
    return ensureDeferred(_make(url))


if __name__ == "__main__":
    react(main, sys.argv[1:])
