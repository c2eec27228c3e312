"""The configurator that says how long logs and build data are kept.

There is no builder for it here: the master itself removes a little all the time (`buildbot.config.retention`).
"""

from buildbot.config.retention import JanitorConfigurator

#: what existing configurations call the janitor's builder, to leave it out of what they list
JANITOR_NAME = "__Janitor"

__all__ = ["JANITOR_NAME", "JanitorConfigurator"]
