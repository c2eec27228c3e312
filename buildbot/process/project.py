"""`Project`, under the name that configurations import."""

from buildbot.config.projects import Project

__all__ = ["Project"]
