"""Links of revisions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from buildbot import revlinks
from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.plugins import util
from buildbot.revlinks import GitwebMatch, RevlinkMultiplexer, default_revlink_matcher

GITHUB = "https://github.com/O/R.x/commit/abc"
BITBUCKET = "https://bitbucket.org/O/R/commits/abc"
GITLAB = "https://gitlab.com/O/S/R/-/commit/abc"
ALLURA = "https://sourceforge.net/p/P/C/ci/abc/"
GITWEB = "http://P.git.sourceforge.net/git/gitweb.cgi?p=X/Y;a=commit;h=abc"


@pytest.mark.parametrize(
    ("repository", "link"),
    [
        ("https://github.com/O/R.x", GITHUB),
        ("git://github.com/O/R.x.git", GITHUB),
        ("git@github.com:O/R.x", GITHUB),
        ("ssh://git@github.com/O/R.x.git", GITHUB),
        ("https://token@github.com/O/R.x.git", GITHUB),
        ("http://github.com/O/R.x", GITHUB),
        ("https://github.com/O/R.x/y", None),
        ("https://notgithub.com/O/R", None),
        ("https://github.com.evil.org/O/R", None),
        ("git@bitbucket.org:O/R.git", BITBUCKET),
        ("https://O@bitbucket.org/O/R.git", BITBUCKET),
        ("https://bitbucket.org/O/R", BITBUCKET),
        ("git@gitlab.com:O/S/R.git", GITLAB),
        ("https://gitlab.com/O/S/R", GITLAB),
        ("git://git.code.sf.net/p/P/C", ALLURA),
        ("http://git.code.sf.net/p/P/C", ALLURA),
        ("ssh://me@git.code.sf.net/p/P/C", ALLURA),
        ("git://P.git.sourceforge.net/gitroot/X/Y", GITWEB),
        ("ssh://me@P.git.sourceforge.net/gitroot/X/Y", GITWEB),
        ("file:///srv/repository", None),
        ("", None),
    ],
)
def test_known_hosts(repository: str, link: str | None) -> None:
    """Repositories at the known hosts have links, however they are written; of others nothing is said."""
    assert default_revlink_matcher("abc", repository) == link
    assert default_revlink_matcher(None, repository) is None


def test_match() -> None:
    """The first expression that fits the beginning decides; groups and each ``%s`` are filled in."""
    match = util.RevlinkMatch(["https://x/(.*)", re.compile(r"git@y:(.*)\.git")], r"https://v/\1/%s?%s=100%")
    assert match("1\\1", "https://x/a") == r"https://v/a/1\1?1\1=100%"
    assert match("1", "git@y:b.git") == "https://v/b/1?1=100%"
    assert match("1", "see https://x/a") is None
    web = GitwebMatch(r"git://x/(?P<repo>.*)", "http://x/gitweb")
    assert web("1", "git://x/a/b.git") == "http://x/gitweb?p=a/b.git;a=commit;h=1"
    both = RevlinkMultiplexer(match, web)
    assert both("1", "git://x/a") == "http://x/gitweb?p=a;a=commit;h=1"
    assert both("1", "nowhere") is None
    assert util.RevlinkMatch is revlinks.RevlinkMatch


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: util.RevlinkMatch("(", "x"), "RevlinkMatch: repo_urls must be a regular expression or a list of them"),
        (lambda: util.RevlinkMatch("x"), "RevlinkMatch: argument 'revlink' is missing"),
        (lambda: util.RevlinkMatch("x(.)", r"\2"), r"RevlinkMatch: revlink '\\2' does not fit 'x(.)': invalid group"),
        (lambda: GitwebMatch("x", "y"), "GitwebMatch: repo_urls 'x' must have a group named repo: (?P<repo>…)"),
        (lambda: RevlinkMultiplexer("x"), "RevlinkMultiplexer: revlinks must be functions, not 'x' (str)"),
    ],
)
def test_mistakes(make: Any, message: str) -> None:
    """A mistake names class, argument and value."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert caught.value.errors[0].startswith(message)


def test_key(tmp_path: Path) -> None:
    """Without the key known hosts have links; None and objects that cannot be called are mistakes."""
    assert MasterConfig.from_values({}, tmp_path).revlink is default_revlink_matcher
    for value in (None, "https://x/%s"):
        with pytest.raises(ConfigErrors, match=r"c\['revlink'\] must be a function"):
            MasterConfig.from_values({"revlink": value}, tmp_path)
