"""What extends a configuration after ``master.cfg`` has run: ``c['configurators']``."""

from __future__ import annotations

from typing import Any


class ConfiguratorBase:
    """Base of configurators: gives them the parts of the configuration that they extend.

    A subclass overrides `configure`, calls ``super().configure(config_dict)`` first and then changes the attributes.

    Attributes:
        config_dict: ``BuildmasterConfig`` itself.
        schedulers, builders, workers, projects, secretsProviders: its lists of these names.
        protocols, www: its dictionaries of these names.
    """

    config_dict: dict[str, Any]
    schedulers: list[Any]
    builders: list[Any]
    workers: list[Any]
    projects: list[Any]
    secretsProviders: list[Any]
    protocols: dict[str, Any]
    www: dict[str, Any]

    def configure(self, config_dict: dict[str, Any]) -> None:
        """Extend a configuration; called once, right after the file has run."""
        self.config_dict = config_dict
        self.schedulers = config_dict.setdefault("schedulers", [])
        self.protocols = config_dict.setdefault("protocols", {})
        self.builders = config_dict.setdefault("builders", [])
        self.workers = config_dict.setdefault("workers", [])
        self.projects = config_dict.setdefault("projects", [])
        self.secretsProviders = config_dict.setdefault("secretsProviders", [])
        self.www = config_dict.setdefault("www", {})


__all__ = ["ConfiguratorBase"]
