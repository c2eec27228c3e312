"""Has requests wait, spread over builders ``b0``, ``b1``, …: ``python -m bench.actors.queue_up URL COUNT BUILDERS``."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import react

from buildbot.master import openMaster

_AT_ONCE = 500


async def _queue_up(url: str, count: int, builders: int) -> None:
    master = await openMaster(url, name="queue")
    update = master.data.update
    for number in range(builders):
        await update.findBuilderId(f"b{number}")
    for first in range(0, count, _AT_ONCE):
        asked = [
            update.addBuildset(sourcestamps=[{"codebase": ""}], reason="waits", builderNames=[f"b{n % builders}"])
            for n in range(first, min(first + _AT_ONCE, count))
        ]
        await gatherResults(asked)
    await master.close()


def main(reactor: Any, url: str, count: str, builders: str) -> Deferred[None]:
    """Add them, some hundred at once."""
    return ensureDeferred(_queue_up(url, int(count), int(builders)))


if __name__ == "__main__":
    react(main, sys.argv[1:])
