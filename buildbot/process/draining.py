"""What a master still builds before a clean stop: the builds that its running builds wait for.

A build that waits for triggered builds does not end before they do, so their requests are handed out also when no other
request is. All others wait for the next start, or for another master.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from buildbot.data.interfaces import Master


class Draining:
    """Tells which requests a master that is about to stop still builds.

    Args:
        master: the master, for its ``data``.
        running: gives the ids of the builds that run in this master now.
    """

    #: what `buildbot.process.choosing.pending` asks for beside the builders
    filters: Mapping[str, Any] = {"waited_for": True}

    def __init__(self, master: Master, running: Callable[[], Container[int]]) -> None:
        self._master = master
        self._running = running

    async def needs(self, request: Mapping[str, Any]) -> bool:
        """Whether a build that runs here waits for the request, or waits for a build that does, and so on.

        Args:
            request: a build request, as the Data API gives it.
        """
        data = self._master.data
        while request["waited_for"]:
            buildset = await data.get({}, ("buildsets", request["buildsetid"]))
            buildid = buildset["parent_buildid"]
            if buildid in self._running():
                return True
            parent = None if buildid is None else await data.get({}, ("builds", buildid))
            if parent is None or parent["complete"]:  # it waits no more
                return False
            request = await data.get({}, ("buildrequests", parent["buildrequestid"]))
        return False
