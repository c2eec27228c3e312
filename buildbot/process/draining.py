"""Requests that a master still builds before a clean stop: its running builds wait for them.

A build that waits for triggered builds does not end before they do, so their requests are handed out when others are
not. The other requests wait for the next start, or for another master.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, TypedDict

from buildbot.data.interfaces import Master
from buildbot.resources.builds import BuildDict
from buildbot.resources.buildsets import BuildsetDict


class AskedRequest(TypedDict):
    """The fields of a build request that decide whether it is still built."""

    buildsetid: int
    waited_for: bool


class Draining:
    """Decides which requests a stopping master still builds.

    Args:
        master: the master, for its ``data``.
        running: gives the ids of the running builds of this master.
    """

    #: further options of `buildbot.process.choosing.pending`
    filters: Mapping[str, Any] = {"waited_for": True}

    def __init__(self, master: Master, running: Callable[[], Container[int]]) -> None:
        self._master = master
        self._running = running

    async def needs(self, request: AskedRequest) -> bool:
        """Whether a running build of this master waits for the request, directly or by other builds.

        Args:
            request: a build request, as the Data API gives it.
        """
        data = self._master.data
        while request["waited_for"]:
            buildset: BuildsetDict = await data.get({}, ("buildsets", request["buildsetid"]))
            buildid = buildset["parent_buildid"]
            if buildid in self._running():
                return True
            parent: BuildDict | None = None if buildid is None else await data.get({}, ("builds", buildid))
            if parent is None or parent["complete"]:  # the build does not wait any more
                return False
            request = await data.get({}, ("buildrequests", parent["buildrequestid"]))
        return False
