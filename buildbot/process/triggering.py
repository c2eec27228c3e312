"""Buildsets that builds trigger: waiting for their ends, and cancelling them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from buildbot.data.interfaces import Master
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.resources.buildsets import BuildsetDict


async def end_of_buildset(master: Master, bsid: int) -> int:
    """Wait for the end of a buildset, on any master; gives its results.

    Cancelling the Deferred that waits for this ends the wait, not the buildset.
    """
    ended: Deferred[int] = Deferred()

    def complete(routing_key: tuple[str, ...], message: Mapping[str, Any]) -> None:
        if not ended.called:
            ended.callback(message["results"])

    subscription = await master.mq.startConsuming(complete, ("buildsets", str(bsid), "complete"))
    try:
        # after the subscription, so that its end is not missed
        row: BuildsetDict = await master.data.get({}, ("buildsets", bsid))
        return int(row["results"]) if row["complete"] else await ended
    finally:
        await maybeDeferred(subscription.stopConsuming)


async def cancel_buildset(master: Master, bsid: int, reason: str) -> None:
    """Cancel the requests of a buildset that are not complete, and stop their builds."""
    query = {"filters": {"complete": False}, "order": ["buildrequestid"]}
    requests: list[BuildRequestDict] = await master.data.get(query, ("buildsets", bsid, "buildrequests"))
    for request in requests:
        await master.data.control("cancel", {"reason": reason}, ("buildrequests", request["buildrequestid"]))
