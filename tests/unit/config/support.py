"""Write a master.cfg, load it, look at the reported mistakes."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from buildbot.config import ConfigErrors, MasterConfig, load_config

#: a configuration without mistakes, four lines long; the lines of a test begin at line 5
GOOD = """\
from tests.unit.config.parts import ChangeSource, Factory, Scheduler, Worker
from buildbot.config import BuilderConfig, Codebase, Project, error
c = BuildmasterConfig = {"protocols": {"pb": {"port": 9989}}, "workers": [Worker("w", "secret")]}
c["builders"] = [BuilderConfig(name="b", workernames=["w"], factory=Factory())]
"""


def load(directory: Path, text: str) -> MasterConfig:
    """The configuration that `GOOD` followed by ``text`` makes."""
    (directory / "master.cfg").write_text(GOOD + dedent(text))
    return load_config(directory)


def mistakes(directory: Path, text: str, whole: bool = False) -> list[str]:
    """The mistakes in `GOOD` followed by ``text``, or in ``text`` as the ``whole`` file."""
    (directory / "master.cfg").write_text(("" if whole else GOOD) + dedent(text))
    with pytest.raises(ConfigErrors) as caught:
        load_config(directory)
    return caught.value.errors
