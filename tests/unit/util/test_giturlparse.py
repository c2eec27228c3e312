"""Addresses of git repositories, taken apart as plugins expect."""

from __future__ import annotations

import pytest

from buildbot.util.giturlparse import GitUrl, giturlparse


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://github.com/buildbot/buildbot", ("https", None, None, "github.com", None, "buildbot", "buildbot")),
        ("git@github.com:buildbot/buildbot.git", ("ssh", "git", None, "github.com", None, "buildbot", "buildbot")),
        ("ssh://git@host:2222/a/b/c.git", ("ssh", "git", None, "host", 2222, "a/b", "c")),
        ("host:repo", ("ssh", None, None, "host", None, None, "repo")),
        ("https://jo:pw@host.org:8443/a/b/c.git/", ("https", "jo", "pw", "host.org", 8443, "a/b", "c")),
        ("git://h/r.git", ("git", None, None, "h", None, None, "r")),
        ("user@h:~/x.git", ("ssh", "user", None, "h", None, "~", "x")),
        ("http://[::1]/a/b", ("http", None, None, "[::1]", None, "a", "b")),
    ],
)
def test_addresses(url: str, parts: tuple[object, ...]) -> None:
    """Protocol, user, password, domain, port, owner and name."""
    assert giturlparse(url) == GitUrl(*parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["", "/local/path", "file:///x/y.git", "C:\\x", "https://host/", "https://host", "./a:b"]
)
def test_no_addresses(url: str) -> None:
    """A path without a server has no parts."""
    assert giturlparse(url) is None
