"""Links from revisions to pages that show them: ``c['revlink']``.

A function of revision and repository gives the URL, or None if it does not know the repository. An unknown revision
(None, ``""``) has no link.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.config.errors import error

Revlink = Callable[[str | None, str], str | None]


def _patterns(value: Any) -> list[re.Pattern[str]]:
    """One regular expression or several, compiled."""
    compiled = []
    for each in [value] if isinstance(value, str | re.Pattern) else checks.sequence(value):
        try:
            compiled.append(re.compile(each))
        except (re.error, TypeError) as problem:
            raise ValueError(f"must be a regular expression or a list of them; {each!r} is none: {problem}") from None
    return compiled


class RevlinkMatch(Declared):
    """Links of repositories that match a regular expression: ``RevlinkMatch(r"git://x/(.*)", r"https://x/\\1/%s")``."""

    positional: ClassVar[tuple[str, ...]] = ("repo_urls", "revlink")
    repo_urls = argument(
        REQUIRED, _patterns, doc="a regular expression, or a list of them, of repositories' beginnings"
    )
    revlink = argument(
        REQUIRED, checks.name, doc="the link: `\\1`, `\\2`, … are the expression's groups, and each `%s` the revision"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for pattern in self.repo_urls or ():
            try:
                pattern.sub(self.revlink or "", "")
            except (re.error, IndexError) as problem:
                error(f"{type(self).__name__}: revlink {self.revlink!r} does not fit {pattern.pattern!r}: {problem}")

    def __call__(self, rev: str | None, repo: str) -> str | None:
        """The link, or None."""
        for pattern in self.repo_urls:
            found = pattern.match(repo)
            if found is not None:
                return found.expand(self.revlink).replace("%s", rev) if rev else None
        return None


class GitwebMatch(Declared):
    """Links to gitweb."""

    positional: ClassVar[tuple[str, ...]] = ("repo_urls", "revlink")
    repo_urls = argument(
        REQUIRED,
        _patterns,
        doc="a regular expression, or a list of them, with a group named `repo`: the name in gitweb",
    )
    revlink = argument(REQUIRED, checks.name, doc="the address of gitweb; `\\1`, `\\2`, … are the expression's groups")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for pattern in self.repo_urls or ():
            if "repo" not in pattern.groupindex:
                error(f"{type(self).__name__}: repo_urls {pattern.pattern!r} must have a group named repo: (?P<repo>…)")

    def __call__(self, rev: str | None, repo: str) -> str | None:
        """The link, or None."""
        for pattern in self.repo_urls:
            found = pattern.match(repo)
            if found is not None:
                return f"{found.expand(self.revlink)}?p={found['repo']};a=commit;h={rev}" if rev else None
        return None


class RevlinkMultiplexer:
    """The first link that one of several functions gives.

    Args:
        revlinks: called in this order.
    """

    def __init__(self, *revlinks: Any) -> None:
        self.revlinks: tuple[Revlink, ...] = revlinks
        for each in revlinks:
            if not callable(each):
                error(f"RevlinkMultiplexer: revlinks must be functions, not {checks.kind(each)}")

    def __call__(self, rev: str | None, repo: str) -> str | None:
        """The link, or None."""
        for each in self.revlinks:
            link = each(rev, repo)
            if link is not None:
                return link
        return None


def _hosted(host: str, levels: str, commit: str) -> RevlinkMatch:
    """Links of a host, for all forms of its repositories' addresses.

    Args:
        levels: the pattern between the owner and the repository.
        commit: the text between the repository and the revision.
    """
    path, name = rf"([^/]+{levels})/([^/]+?)(?:\.git)?$", re.escape(host)
    starts = (rf"https?://(?:[^/@]+@)?{name}/", rf"git://{name}/", rf"git@{name}:", rf"ssh://git@{name}/")
    return RevlinkMatch([start + path for start in starts], rf"https://{host}/\1/\2/{commit}/%s")


GithubRevlink = _hosted("github.com", "", "commit")
BitbucketRevlink = _hosted("bitbucket.org", "", "commits")
GitlabRevlink = _hosted("gitlab.com", "(?:/[^/]+)*?", "-/commit")
SourceforgeGitRevlink = GitwebMatch(
    [rf"{start}([^.]+)\.git\.sourceforge\.net/gitroot/(?P<repo>.*)$" for start in ("git://", "ssh://[^@]+@", "[^@]+@")],
    r"http://\1.git.sourceforge.net/git/gitweb.cgi",
)
SourceforgeGitRevlink_AlluraPlatform = RevlinkMatch(
    r"(?:git://|https?://|ssh://[^@]+@)git\.code\.sf\.net/p/(.+?)/?$", r"https://sourceforge.net/p/\1/ci/%s/"
)

#: the default of ``c['revlink']``
default_revlink_matcher = RevlinkMultiplexer(
    GithubRevlink, BitbucketRevlink, GitlabRevlink, SourceforgeGitRevlink_AlluraPlatform, SourceforgeGitRevlink
)
