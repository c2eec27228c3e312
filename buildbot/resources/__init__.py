"""The vocabulary: one file per noun, pure data."""

from __future__ import annotations

from buildbot.resources.base import Resource, metadata
from buildbot.resources.builders import BUILDER
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.builds import BUILD
from buildbot.resources.buildsets import BUILDSET
from buildbot.resources.changes import CHANGE
from buildbot.resources.changesources import CHANGESOURCE
from buildbot.resources.events import clock, events
from buildbot.resources.logs import LOG
from buildbot.resources.masters import MASTER
from buildbot.resources.schedulers import FORCESCHEDULER, SCHEDULER
from buildbot.resources.sourcestamps import SOURCESTAMP
from buildbot.resources.state import object_state, objects
from buildbot.resources.steps import STEP
from buildbot.resources.users import users
from buildbot.resources.workers import WORKER

#: every noun, in the order in which the root of the API lists them
RESOURCES: tuple[Resource, ...] = (
    BUILDER,
    BUILD,
    BUILDREQUEST,
    WORKER,
    BUILDSET,
    CHANGE,
    CHANGESOURCE,
    MASTER,
    SOURCESTAMP,
    SCHEDULER,
    FORCESCHEDULER,
    STEP,
    LOG,
)

__all__ = ["RESOURCES", "Resource", "clock", "events", "metadata", "object_state", "objects", "users"]
