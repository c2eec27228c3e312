"""Links from revisions to pages that show them, under the path that configurations import."""

from buildbot.config.revlinks import (
    BitbucketRevlink,
    GithubRevlink,
    GitlabRevlink,
    GitwebMatch,
    RevlinkMatch,
    RevlinkMultiplexer,
    SourceforgeGitRevlink,
    SourceforgeGitRevlink_AlluraPlatform,
    default_revlink_matcher,
)

__all__ = [
    "BitbucketRevlink",
    "GithubRevlink",
    "GitlabRevlink",
    "GitwebMatch",
    "RevlinkMatch",
    "RevlinkMultiplexer",
    "SourceforgeGitRevlink",
    "SourceforgeGitRevlink_AlluraPlatform",
    "default_revlink_matcher",
]
