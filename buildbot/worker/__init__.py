"""Workers, as a configuration names them."""

from buildbot.worker.base import AbstractWorker, Worker

__all__ = ["AbstractWorker", "Worker"]
