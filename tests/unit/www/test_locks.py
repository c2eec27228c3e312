"""Locks over HTTP."""

from __future__ import annotations

import json
from typing import Any

from buildbot.config.locks import MasterLock, WorkerLock
from buildbot.process.locks import Locks
from buildbot.www.api.rest import RestApi
from buildbot.www.http.messages import Request
from buildbot.www.settings import make_settings


async def get(master: Any) -> Any:
    api = RestApi(master.data, make_settings({"port": 8010}, "http://ci.example:8010"))
    response = await api.handle(Request("GET", "locks", "", {}), ("locks",))
    assert response.status == 200 and isinstance(response.body, bytes)
    return json.loads(response.body)


async def test_locks(master: Any) -> None:
    """The present holders and the queue of each lock, in order."""
    assert await get(master) == {"locks": [], "meta": {"total": 0}}
    locks = Locks()
    master.data.locks = locks.described
    one, two = MasterLock("m", 3).access("counting", 2), MasterLock("m", 3).access("exclusive")
    first = locks.claim("a #1", locks.of([one], "w"), print)
    locks.claim("b #2 deploy", locks.of([two], "w"), print)
    locks.claim("c", locks.of([WorkerLock("disk").access("counting")], "w"), print)
    counting, exclusive = {"mode": "counting", "count": 2}, {"mode": "exclusive", "count": 1}
    disk = {"name": "disk", "worker": "w", "max_count": 1, "waiting": []}
    disk["holders"] = [{"owner": "c", "mode": "counting", "count": 1}]
    held = {"name": "m", "worker": None, "max_count": 3, "holders": [{"owner": "a #1", **counting}]}
    assert (await get(master))["locks"] == [disk, {**held, "waiting": [{"owner": "b #2 deploy", **exclusive}]}]
    first.release()
    found = (await get(master))["locks"][1]
    assert found["holders"] == [{"owner": "b #2 deploy", **exclusive}] and found["waiting"] == []
