"""Configurators of users: they extend the configuration of master.cfg."""

from __future__ import annotations

from typing import Any

from buildbot.configurators import ConfiguratorBase, janitor
from buildbot.plugins import util


class More(ConfiguratorBase):
    """Adds a builder and a port."""

    def configure(self, config_dict: dict[str, Any]) -> None:
        super().configure(config_dict)
        self.builders.append("b")
        self.www["port"] = 8010
        self.config_dict["title"] = "More"


def test_it_extends_the_configuration() -> None:
    """Missing keys are made, existing ones are kept."""
    values: dict[str, Any] = {"builders": ["a"]}
    More().configure(values)
    assert values["builders"] == ["a", "b"]
    assert values["www"] == {"port": 8010}
    assert values["title"] == "More"
    assert values["schedulers"] == values["workers"] == values["projects"] == values["secretsProviders"] == []
    assert values["protocols"] == {}


def test_the_janitor_under_its_path() -> None:
    """`buildbot.configurators.janitor` has the class of `util.JanitorConfigurator`."""
    assert janitor.JanitorConfigurator is util.JanitorConfigurator
