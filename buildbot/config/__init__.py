"""Settings as frozen values, checked when made: `load_config` runs a master.cfg into a `MasterConfig`."""

from buildbot.config.builder import BuilderConfig
from buildbot.config.errors import ConfigErrors, error
from buildbot.config.loader import load_config
from buildbot.config.master import MasterConfig
from buildbot.config.projects import Codebase, Project
from buildbot.config.www import WwwConfig

__all__ = ["BuilderConfig", "Codebase", "ConfigErrors", "MasterConfig", "Project", "WwwConfig", "error", "load_config"]
