"""What clients of ``buildbot try`` hold in their hands over PB: a buildset, its requests, and their builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.spread import pb

from buildbot.data.interfaces import Master
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred

#: what a client that has gone away raises
_GONE = (pb.DeadReferenceError, pb.PBConnectionLost)


class RemoteBuildset(pb.Referenceable):
    """What was made of a job.

    Args:
        master: the master, for its ``data``.
        brids: its requests by the names of their builders.
    """

    def __init__(self, master: Master, brids: Mapping[str, int]) -> None:
        self._master = master
        self._brids = dict(brids)

    def remote_getBuildRequests(self) -> list[tuple[str, _RemoteRequest]]:
        """The requests, with the names of their builders."""
        return [(name, _RemoteRequest(self._master, name, brid)) for name, brid in self._brids.items()]


class _RemoteRequest(pb.Referenceable):
    def __init__(self, master: Master, name: str, brid: int) -> None:
        self._master, self._name, self._brid = master, name, brid

    @deferred
    async def remote_subscribe(self, observer: Any) -> None:
        """Tell the client of each build of the request, until it is complete or the client goes away."""
        told: set[int] = set()

        def build(row: Mapping[str, Any]) -> None:
            if row["buildid"] not in told:
                told.add(row["buildid"])
                remote = _RemoteBuild(self._master, self._name, row["buildid"])
                _tell(observer, "newbuild", remote, self._name)

        def happened(key: tuple[str, ...], row: Mapping[str, Any]) -> None:
            if key[-1] == "new":
                build(row)

        path = ("buildrequests", self._brid, "builds")
        watch = await self._master.data.watch(happened, {"order": ["buildid"]}, path)
        _until_gone(observer, watch)
        for row in watch.data:
            build(row)


class _RemoteBuild(pb.Referenceable):
    def __init__(self, master: Master, name: str, buildid: int) -> None:
        self._master, self._name, self._buildid = master, name, buildid

    @deferred
    async def remote_subscribe(self, observer: Any, interval: Any = None) -> None:
        """Tell the client when steps begin and end."""
        begun: set[int] = set()
        ended: set[int] = set()

        def step(row: Mapping[str, Any]) -> None:
            if row["started_at"] is not None and row["stepid"] not in begun:
                begun.add(row["stepid"])
                _tell(observer, "stepStarted", self._name, self, row["name"], None)
            if row["complete"] and row["stepid"] not in ended:
                ended.add(row["stepid"])
                _tell(observer, "stepFinished", self._name, self, row["name"], None, row["results"])

        path = ("builds", self._buildid, "steps")
        watch = await self._master.data.watch(lambda key, row: step(row), {"order": ["number"]}, path)
        _until_gone(observer, watch)
        for row in watch.data:
            step(row)

    @deferred
    async def remote_waitUntilFinished(self) -> _RemoteStatus:
        """How the build ended, once it has."""
        ended: Deferred[Mapping[str, Any]] = Deferred()

        def happened(key: tuple[str, ...], row: Mapping[str, Any]) -> None:
            if row["complete"] and not ended.called:
                ended.callback(row)

        watch = await self._master.data.watch(happened, {}, ("builds", self._buildid))
        try:
            row = watch.data if watch.data["complete"] else await ended
        finally:
            await maybeDeferred(watch.stopConsuming)
        return _RemoteStatus(row["results"], row["state_string"])


class _RemoteStatus(pb.Referenceable):
    def __init__(self, results: int, text: str) -> None:
        self._results, self._text = results, text

    def remote_getResults(self) -> int:
        """The result code."""
        return self._results

    def remote_getText(self) -> list[str]:
        """What it came to, in words."""
        return [self._text]


def _tell(observer: Any, what: str, *args: Any) -> None:
    """Call the client; that it is gone is no failure."""

    async def call() -> None:
        try:
            await observer.callRemote(what, *args)
        except _GONE:
            return

    in_background(call(), f"telling a client of a try job: {what}")


def _until_gone(observer: Any, watch: Any) -> None:
    """Stop following when the client goes away."""
    observer.notifyOnDisconnect(lambda _: in_background(_stop(watch), "the end of following a try job"))


async def _stop(watch: Any) -> None:
    await maybeDeferred(watch.stopConsuming)
