"""Which file a SQLite URL names."""

from __future__ import annotations

import pytest

from buildbot.db.dialects import dialect_for


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ("sqlite:///state.sqlite", "/srv/ci/state.sqlite"),
        ("sqlite:///sub/x.db", "/srv/ci/sub/x.db"),
        ("sqlite:////var/x.db", "/var/x.db"),
        ("sqlite:///%(basedir)s/x.db", "/srv/ci/x.db"),
        ("sqlite:///file:x.db", "file:x.db"),
        ("sqlite://", None),
    ],
)
def test_relative(given: str, file: str | None) -> None:
    """A relative file is one in the master's directory, wherever the process was started."""
    assert dialect_for(given, "/srv/ci").url.database == file
