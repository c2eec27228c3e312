"""How long things are kept: ``c['retention']`` and ``util.JanitorConfigurator``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from buildbot.config import MasterConfig
from buildbot.config.errors import ConfigErrors
from buildbot.config.retention import JanitorConfigurator, Retention

DAY = 24 * 3600


def read(tmp_path: Path, **values: Any) -> Retention:
    config = MasterConfig.from_values({"multiMaster": True, **values}, tmp_path)
    assert config.warnings == ()
    return config.retention


def test_defaults(tmp_path: Path) -> None:
    """Everything goes at some time, unless the configuration says otherwise."""
    assert read(tmp_path) == Retention(90 * DAY, 90 * DAY, 365 * DAY, 365 * DAY, 100)


def test_set(tmp_path: Path) -> None:
    """Ages are timedeltas, None keeps things for good; an age that is not named has its default."""
    given = {"logs": timedelta(weeks=4), "builds": None, "keep_builds": 5}
    assert read(tmp_path, retention=given) == Retention(28 * DAY, 90 * DAY, None, 365 * DAY, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"log": None}, r"c\['retention'\] \['log'\] is unknown; did you mean 'logs'"),
        ({"logs": 90}, r"\['logs'\] must be a timedelta or None, not"),
        ({"logs": timedelta(minutes=5)}, r"\['logs'\] must be an hour or more"),
        ({"keep_builds": -1}, r"\['keep_builds'\]"),
    ],
)
def test_mistakes(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    """A wrong key or value is an error that names it."""
    with pytest.raises(ConfigErrors, match=message):
        read(tmp_path, retention=given)


def test_configurator(tmp_path: Path) -> None:
    """The arguments of existing configurations are understood; c['retention'] takes precedence."""
    janitor = JanitorConfigurator(logHorizon=timedelta(weeks=4), hour=12, dayOfWeek=6)
    assert read(tmp_path, configurators=[janitor]) == Retention(logs=28 * DAY)
    both = JanitorConfigurator(logHorizon=None, build_data_horizon=timedelta(days=1))
    assert read(tmp_path, configurators=[both]) == Retention(logs=None, build_data=DAY)
    assert read(tmp_path, configurators=[janitor], retention={"logs": None}) == Retention(logs=None)


def test_other_configurators(tmp_path: Path) -> None:
    """An object with a method ``configure`` may change the configuration before it is read; others are mistakes."""

    class Titled:
        def configure(self, config_dict: dict[str, Any]) -> None:
            config_dict["title"] = "T"

    values: dict[str, Any] = {"multiMaster": True, "configurators": [Titled()]}
    assert MasterConfig.from_values(values, tmp_path).title == "T"
    assert "title" not in values
    with pytest.raises(ConfigErrors, match="element 1 must have a method configure"):
        read(tmp_path, configurators=[7])
