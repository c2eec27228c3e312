"""One master of the farm: the state layer, heartbeat, HTTP front, a scheduler, a change source, and random work."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults

from buildbot.master import StateLayer
from buildbot.process.heartbeat import Heartbeat
from buildbot.www.site import WwwServer
from buildbot.www.stream import sse, ws
from tests.exactness.broken import VARIANTS
from tests.exactness.building import Building
from tests.exactness.caches import Caches
from tests.exactness.parts import parts
from tests.exactness.processes import enter, reactor
from tests.exactness.records import Records
from tests.exactness.settings import Settings
from tests.exactness.sources import Local
from tests.exactness.watching import watch_all
from tests.exactness.work import BUILDERS, Work


class Master(StateLayer):
    """The state layer, and the further attributes that running parts use."""

    def __init__(self, url: str, name: str, basedir: Path) -> None:
        super().__init__(url, name, reactor)
        self.basedir = basedir


async def main(settings: Settings, records: Records, chance: random.Random) -> None:
    """Work until the run ends."""
    ws.BOOKMARK_INTERVAL_S = sse.BOOKMARK_INTERVAL_S = 0.5
    master = Master(settings.url, records.name, settings.path)
    if settings.broken:
        VARIANTS[settings.broken](master)
    await master.open()
    www = WwwServer(master, {"port": 0, "rest_default_limit": 10**6, "rest_max_limit": 10**6}, "http://localhost/")
    await www.start()
    building = Building(master, settings, records)
    heartbeat = Heartbeat(master, building.declared_dead, settings.beat_s, settings.expiry_s)
    await heartbeat.start()
    records.write("started", masterid=master.masterid, epoch=master.db.epoch, life=os.getpid())
    (settings.path / f"{records.name}.port").write_text(str(www.port))
    running: list[Any] = parts(BUILDERS[:1], settings)
    for part in running:
        await part.run_in(master)
    await building.start()
    caches = Caches(master, list(settings.ports), settings, records)
    others = [ensureDeferred(loop()) for loop in (building.feed, caches.write, caches.read)]
    work = ensureDeferred(Work(master, settings, records, chance, building).run())
    # in the process that writes, too: its subscribers hear of commits from memory
    watching = ensureDeferred(watch_all([Local(master.data)] * 2, settings, records, chance))
    await gatherResults([work, watching, *others])
    await building.stop()
    for part in running:
        await part.stop_running()
    await heartbeat.stop()
    await www.stop()
    await master.close()


if __name__ == "__main__":
    enter(main)
