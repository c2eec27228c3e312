"""The public path of services; the code is in `buildbot.process`."""

from buildbot.process.clusteredservice import ClusteredBuildbotService
from buildbot.process.multiservice import AsyncMultiService, AsyncService
from buildbot.process.service import BuildbotService
from buildbot.process.servicemanager import ServiceManager
from buildbot.process.sharedservice import SharedService

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
