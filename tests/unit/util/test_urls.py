"""URLs as they may be shown."""

from __future__ import annotations

import pytest

from buildbot.util.urls import public_url, without_password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://joe:hush@host/a@b", "https://host/a@b"),
        ("HTTP://hush@host", "HTTP://host"),
        ("ftps://joe:hu@sh@host:1/", "ftps://host:1/"),
        ("git+https://joe:hu'sh@host/", "git+https://host/"),
        ("ssh://git@host:22/x.git", "ssh://git@host:22/x.git"),
        ("ssh://git:hush@host/x.git", "ssh://git@host/x.git"),
        ("svn+ssh://joe:hush@host", "svn+ssh://joe@host"),
        ("no 'https://joe:hush@a/' nor https://hush@b, joe@c", "no 'https://a/' nor https://b, joe@c"),
        ("https://host?mail=joe@host", "https://host?mail=joe@host"),
        ("git@host:x/y.git", "git@host:x/y.git"),
        ("/path/to@it", "/path/to@it"),
        (":pserver:joe:hush@host:2401/cvs", ":pserver:joe@host:2401/cvs"),
        (":pserver;proxy=p:joe:hush@host:/cvs", ":pserver;proxy=p:joe@host:/cvs"),
        (":ext:joe@host:/cvs", ":ext:joe@host:/cvs"),
        ("at 12:03:04 joe@host", "at 12:03:04 joe@host"),
    ],
)  # fmt: skip
def test_without_password(text: str, shown: str) -> None:
    """No password is left, nor a user of a web address, which may be a token; the rest of the text stays."""
    assert without_password(text) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://joe:hush@host/x?token=hush#y", "https://host/x"),
        ("http://host?a", "http://host"),
        ("x:hush", "x:hush"),
    ],
)
def test_public_url(url: str, shown: str) -> None:
    """Query and fragment, which may hold a token, are not shown either."""
    assert public_url(url) == shown
