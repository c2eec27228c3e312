"""Schedulers, under the name that old configurations import."""

from buildbot.schedulers.basic import AnyBranchScheduler, Dependent, SingleBranchScheduler
from buildbot.schedulers.timed import Nightly, Periodic
from buildbot.schedulers.triggerable import Triggerable
from buildbot.schedulers.trysched import Try_Jobdir, Try_Userpass

Scheduler = SingleBranchScheduler

__all__ = [
    "AnyBranchScheduler",
    "Dependent",
    "Nightly",
    "Periodic",
    "Scheduler",
    "Triggerable",
    "Try_Jobdir",
    "Try_Userpass",
]
