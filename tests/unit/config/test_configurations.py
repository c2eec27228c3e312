"""Configurations with features of public ones, used as Buildbot describes; 4.3 loads each of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from buildbot.config.loader import load_config

CONFIGURATIONS = sorted((Path(__file__).parent / "configurations").glob("*.cfg"))


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda path: path.stem)
def test_it_loads(configuration: Path, tmp_path: Path) -> None:
    """Without a mistake."""
    shutil.copy(configuration, tmp_path / "master.cfg")
    (tmp_path / "htpasswd").write_text("al:x\n")
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name in ("ssh-key", "github-token", "token"):
        (tmp_path / "secrets" / name).touch(mode=0o600)
    config = load_config(tmp_path, "master.cfg")
    assert config.builders and config.schedulers and config.workers
