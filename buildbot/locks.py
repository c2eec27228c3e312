"""Locks, under the names that configurations import."""

from buildbot.config.locks import LockAccess, MasterLock, WorkerLock

__all__ = ["LockAccess", "MasterLock", "WorkerLock"]
