"""The public path of services; the code is in `buildbot.process.service`."""

from buildbot.process.service import (
    AsyncMultiService,
    AsyncService,
    BuildbotService,
    ClusteredBuildbotService,
    ServiceManager,
    SharedService,
)

BuildbotServiceManager = ServiceManager

__all__ = [
    "AsyncMultiService",
    "AsyncService",
    "BuildbotService",
    "BuildbotServiceManager",
    "ClusteredBuildbotService",
    "ServiceManager",
    "SharedService",
]
