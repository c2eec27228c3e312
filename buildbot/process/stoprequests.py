"""Requests to stop running builds.

People stop a build by a control message of it, ``control/builds/N/stop``, or of its request,
``control/buildrequests/N/cancel``; the wish is also stored with the build. A master has one subscription for all of its
builds, so that a build which begins or ends costs no read.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import DeferredLock, maybeDeferred

from buildbot.data.interfaces import Master
from buildbot.mq.log import Event
from buildbot.mq.subscription import Subscription
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.util.background import in_background

_KEYS = (("control", "buildrequests", None, "cancel"), ("control", "builds", None, "stop"))


class Stoppable(Protocol):
    """A running build."""

    buildid: int

    @property
    def request(self) -> BuildRequestDict: ...

    async def stop(self, reason: str) -> None: ...


class StopRequests:
    """Stops the running builds of a master on request.

    Args:
        master: the master, for its ``mq`` and ``db``.
    """

    def __init__(self, master: Master) -> None:
        self._master = master
        #: the builds by the noun and the id in the keys of their control messages
        self._builds: dict[tuple[str, str], Stoppable] = {}
        self._subscription: Subscription | None = None
        self._subscribing = DeferredLock()

    async def follow(self, build: Stoppable) -> None:
        """Stop a build when its request is cancelled, from now on; before its row is stored."""
        self._builds["buildrequests", str(build.request["buildrequestid"])] = build
        await self._subscribe()

    def has_begun(self, build: Stoppable) -> None:
        """Stop a build when that is asked for itself, too; its row is stored."""
        self._builds["builds", str(build.buildid)] = build

    def unfollow(self, build: Stoppable) -> None:
        """Stop the build no more: it has ended."""
        for key in (("buildrequests", str(build.request["buildrequestid"])), ("builds", str(build.buildid))):
            if self._builds.get(key) is build:
                del self._builds[key]

    async def close(self) -> None:
        """Listen no more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await maybeDeferred(subscription.stopConsuming)

    async def _subscribe(self) -> None:
        """Listen, unless it does already."""
        async with self._subscribing:
            if self._subscription is None:
                self._subscription = await self._master.mq.subscribe(_KEYS, self._hear)
                self._subscription.on_lost = self._lost

    def _hear(self, event: Event, key: tuple[str, ...]) -> None:
        build = self._builds.get((key[1], key[2]))
        if build is not None:
            _stop(build, event.message.get("reason"))

    def _lost(self) -> None:
        """The log was trimmed before this master had read the messages."""
        self._subscription = None
        in_background(self._listen_again(), "stop requests")

    async def _listen_again(self) -> None:
        """Subscribe anew, and obey the wishes that are stored with the builds."""
        await self._subscribe()
        brids = sorted({build.request["buildrequestid"] for build in self._builds.values()})
        db = self._master.db
        for buildid, reason, _ in await db.pool.read(db.builds.thdUnfinished, brids):
            build = self._builds.get(("builds", str(buildid)))
            if build is not None and reason is not None:
                _stop(build, reason)


def _stop(build: Stoppable, reason: Any) -> None:
    in_background(build.stop(reason or "no reason"), f"stop of {build!r}")
