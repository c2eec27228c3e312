"""Requests to stop a build, from control messages."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import maybeDeferred

from buildbot.mq.subscription import Subscription
from buildbot.process.buildcontract import RunningBuild
from buildbot.util.background import in_background


class BuildControl:
    """Stops a build on request."""

    def __init__(self, build: RunningBuild) -> None:
        self._build = build
        self._subscriptions: list[Subscription] = []

    async def follow(self, *control: str | int) -> None:
        """Obey the control messages of a path, such as ``"builds", buildid, "stop"``."""
        filter = ("control", *map(str, control))
        self._subscriptions.append(await self._build.master.mq.startConsuming(self._on_control, filter))

    async def unfollow(self) -> None:
        """Stop obeying control messages."""
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await maybeDeferred(subscription.stopConsuming)

    async def obey_earlier(self) -> None:
        """Stop the build if a stop was stored before `follow`."""
        db = self._build.master.db
        unfinished = await db.pool.read(db.builds.thdUnfinished, [self._build.request["buildrequestid"]])
        for buildid, reason, _ in unfinished:
            if buildid == self._build.buildid and reason is not None:
                await self._build.stop(reason)

    def _on_control(self, key: tuple[str, ...], message: dict[str, Any]) -> None:
        in_background(self._build.stop(message.get("reason") or "no reason"), f"stop of {self._build!r}")
