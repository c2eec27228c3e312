"""The configuration of workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildbot.config.builder import BuilderConfig
from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.process.factory import BuildFactory
from buildbot.process.properties import Property
from buildbot.process.workers.manager import WorkerManager
from buildbot.test.recording import Recording
from buildbot.worker.base import Worker


@pytest.mark.parametrize(
    ("given", "notified"), [(None, []), ("a@b", ["a@b"]), (["a@b", "c@d"], ["a@b", "c@d"]), (("a@b",), ["a@b"])]
)
def test_notify_on_missing(given: Any, notified: list[str]) -> None:
    """The argument is None, an address or a list of addresses."""
    assert Worker("w", "p", notify_on_missing=given).notify_on_missing == notified


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"notify_on_missing": 3}, "notify_on_missing must be an address or a list of addresses, not 3"),
        ({"notify_on_missing": [None]}, "notify_on_missing must be an address or a list of addresses, not [None]"),
        ({"properties": ["a"]}, "properties must be a dictionary, not ['a']"),
        ({"defaultProperties": {1: 2}}, "defaultProperties must have strings as keys, not 1"),
    ],
)
def test_mistakes_name_the_argument(arguments: dict[str, Any], message: str) -> None:
    """A wrong value is an error that names worker, argument and allowed values."""
    with pytest.raises(ConfigErrors) as caught:
        Worker("w", "p", **arguments)
    assert f"Worker 'w': {message}" in str(caught.value)


def test_a_password_may_be_rendered() -> None:
    """A password may be a renderable."""
    password = Property("x")
    assert Worker("w", password).password is password


async def test_properties_are_asked_as_those_of_a_build() -> None:
    """A worker's properties have the methods of a build's, also in functions of the configuration."""
    configured = Worker("w", "p", properties={"os": "linux", "none": None})
    assert configured.properties == {"os": "linux", "none": None}
    manager = WorkerManager(Recording())
    builder = BuilderConfig(name="b", workernames=["w"], factory=BuildFactory())
    await manager.start(MasterConfig(Path(), workers=[configured], builders=[builder], protocols={}))
    for properties in (configured.properties, manager.workers["w"].worker.properties):
        assert properties.getProperty("os") == "linux"
        assert properties.getProperty("cpus", 4) == 4
        assert properties.hasProperty("none") and not properties.hasProperty("cpus")
    configured.properties.setProperty("os", "plan9", "somebody")
    assert configured.properties["os"] == "plan9"
    configured.properties.update({"cpus": 8}, "somebody")
    assert configured.properties.getProperty("cpus") == 8
    await manager.stop()
