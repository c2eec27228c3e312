"""`BuildRequest`, under the name that configurations import."""

from buildbot.process.buildrequest import BuildRequest

__all__ = ["BuildRequest"]
