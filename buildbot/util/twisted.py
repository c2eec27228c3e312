"""The public path of the decorator that makes a coroutine a Deferred; the code is in `buildbot.util.deferreds`."""

from buildbot.util.deferreds import deferred

async_to_deferred = deferred

__all__ = ["async_to_deferred"]
