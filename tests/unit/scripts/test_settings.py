"""buildbot.tac is read, never run; files of older versions are understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildbot.scripts.settings import BadSettingsError, Settings, read

OLD = """\
import os
from twisted.application import service
from buildbot.master import BuildMaster

basedir = '/srv/ci'
rotateLength = '1000000'
maxRotatedFiles = None
configfile = 'ci.cfg'
umask = 0o022
application = service.Application('buildmaster')
raise SystemExit
"""


def test_absent(tmp_path: Path) -> None:
    """Without the file all settings have their defaults."""
    assert read(tmp_path) == Settings("master.cfg", 10_000_000, 10, None)


@pytest.mark.parametrize("settings", [Settings(), Settings("x.cfg", 0, None, 0o27)])
def test_round_trip(tmp_path: Path, settings: Settings) -> None:
    """Written settings are read back."""
    (tmp_path / "buildbot.tac").write_text(settings.render())
    assert read(tmp_path) == settings


def test_older_version(tmp_path: Path) -> None:
    """The program that older versions wrote gives its settings."""
    (tmp_path / "buildbot.tac").write_text(OLD)
    assert read(tmp_path) == Settings("ci.cfg", 1_000_000, None, 0o022)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotateLength = 'big'", "rotateLength must be a number, not 'big'"),
        ("rotateLength = -1", "rotateLength must be a number, not -1"),
        ("maxRotatedFiles = 1.5", "maxRotatedFiles must be a number, not 1.5"),
        ("configfile = 3", "configfile must be a file name, not 3"),
        ("configfile = (", "is not Python"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    """A value of the wrong kind is named with its file."""
    (tmp_path / "buildbot.tac").write_text(text)
    with pytest.raises(BadSettingsError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "buildbot.tac"))
    assert message in str(caught.value)
