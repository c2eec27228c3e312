"""A process of watchers: in Python on a state layer of its own, and clients of the masters' HTTP servers."""

from __future__ import annotations

import os
import random
from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults

from buildbot.master import StateLayer
from buildbot.mq.connector import CursorTooOldError
from tests.exactness.processes import enter, reactor, sleep
from tests.exactness.records import Records
from tests.exactness.settings import Settings
from tests.exactness.sources import EventSource, Local, WebSocket
from tests.exactness.watching import watch_all


async def main(settings: Settings, records: Records, chance: random.Random) -> None:
    """Watch until the run ends."""
    master = StateLayer(settings.url, records.name, reactor)
    await master.open()
    records.write("started", masterid=master.masterid, epoch=0, life=os.getpid())

    def heard(key: tuple[str, ...], message: Any) -> None:
        records.write("consumed", number=consumer.clock, life=os.getpid(), consumer=name)

    name = records.name
    while True:
        try:
            consumer = await master.mq.startConsuming(heard, ("buildsets", None, None), persistent_name=name)
            break
        except CursorTooOldError:
            name = f"{records.name} {os.getpid()}"  # away for longer than the log reaches back: begin anew
            records.count("too old")
    sources = [
        *[Local(master.data)] * 3,
        *(WebSocket(settings.path, chance) for _ in range(3)),
        *(EventSource(settings.path, chance) for _ in range(2)),
    ]
    watching = ensureDeferred(watch_all(sources, settings, records, chance))
    counting = ensureDeferred(_flush(settings, records))
    await gatherResults([watching, counting])
    await master.close()


async def _flush(settings: Settings, records: Records) -> None:
    while settings.phase != "end":
        records.flush()
        await sleep(0.5)


if __name__ == "__main__":
    enter(main)
