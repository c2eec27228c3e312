"""Workers, as a configuration names them."""

from buildbot.worker.base import AbstractWorker, Worker
from buildbot.worker.latent import AbstractLatentWorker

__all__ = ["AbstractLatentWorker", "AbstractWorker", "Worker"]
