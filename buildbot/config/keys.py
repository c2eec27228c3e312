"""The keys of ``BuildmasterConfig``, one entry each: how its value is checked and what it means.

The check of a configuration and its suggestions for misspelt keys follow from this list, and a test compares
docs/configuration.md with it. What needs several keys (workers, schedulers, builders, database) is read in
`buildbot.config.master`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from buildbot.config import checks
from buildbot.config.revlinks import default_revlink_matcher


@dataclass(frozen=True)
class Key:
    """A key of the configuration.

    Attributes:
        name: as it is written in master.cfg.
        check: gives the value back, perhaps in a better form; ValueError says what is wrong with it.
        default: the value where the key is not set.
        meaning: one line for people.
        has_effect: False for keys of existing configurations that are accepted and change nothing here;
            setting one to something other than its default is a warning.
    """

    name: str
    check: checks.Check
    default: Any
    meaning: str
    has_effect: bool = True


_collapse = checks.either(checks.off_or(checks.boolean), checks.function, otherwise="True, False or a function")
_usage = checks.either(
    checks.optional(checks.one_of("none", "basic", "full", "custom")),
    checks.function,
    otherwise="None, 'basic', 'full', 'custom' or a function",
)


def _manhole(value: Any) -> Any:
    if isinstance(value, type) or not all(
        callable(getattr(value, name, None)) for name in ("start", "stop", "same_as")
    ):
        raise ValueError(f"must be a util.AuthorizedKeysManhole(…), not {checks.kind(value)}")
    return value


_entries = (
    Key("title", checks.text, "Buildbot", "name of the installation, shown on every page"),
    Key("titleURL", checks.url, "", "where the title links to, by default buildbotURL"),
    Key(
        "buildbotURL",
        checks.base_url,
        "http://localhost:8080/",
        "the URL under which people reach the web server",
    ),
    Key(
        "db_url",
        checks.anything,
        "",
        "the database, for example sqlite:///state.sqlite; a relative file is in the master's directory",
    ),
    Key("db", checks.mapping, {}, "the same as a dictionary: {'db_url': …}"),
    Key(
        "protocols",
        checks.mapping,
        {},
        "where workers connect, by protocol: {'pb': {'port': 9989}}; also msgpack_experimental_v7",
    ),
    Key("workers", checks.sequence, [], "the workers, a list of worker.Worker(name, password)"),
    Key("change_source", checks.anything, [], "one change source or a list of them"),
    Key("schedulers", checks.sequence, [], "what decides when to build"),
    Key("builders", checks.sequence, [], "what is built: a list of util.BuilderConfig"),
    Key("projects", checks.sequence, [], "what builders belong to: a list of util.Project"),
    Key("codebases", checks.sequence, [], "the repositories of projects: a list of util.Codebase"),
    Key("www", checks.anything, {}, "the web server"),
    Key("properties", checks.properties, {}, "properties of every build that has none of these names"),
    Key(
        "collapseRequests",
        _collapse,
        False,
        "whether waiting requests for the same thing are built once: True, False or f(master, builder, new, old)",
    ),
    Key(
        "prioritizeBuilders",
        checks.optional(checks.function),
        None,
        "f(master, builders) gives the builders in the order in which they are served",
    ),
    Key(
        "codebaseGenerator",
        checks.optional(checks.function),
        None,
        "f(change) names the codebase of a change that comes without one",
    ),
    Key(
        "revlink",
        checks.function,
        default_revlink_matcher,
        "f(revision, repository) gives the link of a change that comes without one, or None; by default links to"
        " GitHub, GitLab, Bitbucket and SourceForge",
    ),
    Key("retention", checks.mapping, {}, "how long things are kept"),
    Key("configurators", checks.sequence, [], "what extends the configuration: util.JanitorConfigurator"),
    Key(
        "multiMaster",
        checks.boolean,
        False,
        "this master shares its database with others, which may have the workers and builders",
    ),
    Key(
        "logCompressionMethod",
        checks.one_of("raw", "gz", "bz2", "lz4", "br", "zstd"),
        "zstd",
        "how logs are compressed; they always are, with zstd",
        has_effect=False,
    ),
    Key(
        "logCompressionLimit",
        checks.off_or(checks.whole_number()),
        None,
        "size from which logs are compressed",
        has_effect=False,
    ),
    Key(
        "logMaxSize",
        checks.off_or(checks.whole_number(1)),
        None,
        "bytes after which a log is cut off",
    ),
    Key(
        "logMaxTailSize",
        checks.off_or(checks.whole_number(1)),
        None,
        "bytes kept of the end of a log that was cut off",
    ),
    Key(
        "logEncoding",
        checks.only_utf8,
        "utf-8",
        "accepted is UTF-8: workers decode what commands print, by their unicode_encoding, and send text",
    ),
    Key(
        "changeHorizon",
        checks.off_or(checks.whole_number()),
        None,
        "how many changes are kept",
        has_effect=False,
    ),
    Key(
        "buildHorizon",
        checks.off_or(checks.whole_number()),
        None,
        "how many builds are kept",
        has_effect=False,
    ),
    Key(
        "logHorizon",
        checks.off_or(checks.whole_number()),
        None,
        "how many builds keep their logs",
        has_effect=False,
    ),
    Key(
        "eventHorizon",
        checks.off_or(checks.whole_number()),
        None,
        "how many events are kept",
        has_effect=False,
    ),
    Key("buildCacheSize", checks.whole_number(), 0, "size of a cache that is not needed", has_effect=False),
    Key("changeCacheSize", checks.whole_number(), 0, "size of a cache that is not needed", has_effect=False),
    Key("caches", checks.mapping, {}, "sizes of caches, by name; they need no sizes here", has_effect=False),
    Key("buildbotNetUsageData", _usage, None, "usage reports to the Buildbot project; none are ever sent"),
    Key(
        "validation",
        checks.patterns("branch", "revision", "property_name", "property_value"),
        {},
        "patterns of what forms may say: branch, revision, property_name, property_value",
    ),
    Key(
        "mq",
        checks.mapping,
        {},
        "message queue; none is needed, masters that share a database find each other",
    ),
    Key("metrics", checks.optional(checks.mapping), None, "metrics of the master", has_effect=False),
    Key("secretsProviders", checks.sequence, [], "who is asked for secrets, in this order"),
    Key("services", checks.sequence, [], "reporters and other services, each with a name of its own"),
    Key("machines", checks.sequence, [], "what workers run on, where the master starts and stops that"),
    Key(
        "select_next_worker",
        checks.optional(checks.function),
        None,
        "f(builder, workers, buildrequest) chooses the worker for builders without nextWorker",
    ),
    Key("user_managers", checks.sequence, [], "who manages users by `buildbot user --master`: a list"),
    Key(
        "manhole",
        checks.optional(_manhole),
        None,
        "an interactive prompt inside the master: a util.AuthorizedKeysManhole",
    ),
)

#: every known key by its name
KEYS: dict[str, Key] = {entry.name: entry for entry in _entries}

#: keys of older versions and of other tools, and what to do instead
RENAMED: dict[str, str] = {
    "slaves": "it is now called workers",
    "bots": "it is now called workers",
    "slavePortnum": "write c['protocols'] = {'pb': {'port': …}}",
    "workerPortnum": "write c['protocols'] = {'pb': {'port': …}}",
    "sources": "it is now called change_source",
    "change_sources": "it is called change_source",
    "mergeRequests": "it is now called collapseRequests",
    "projectName": "it is now called title",
    "projectURL": "it is now called titleURL",
    "status": "status targets became services",
    "status_httpd": "write c['www'] = {'port': …}",
}
