"""The keys of ``BuildmasterConfig``, one entry each: the check of its value, and its meaning.

The check of a configuration and its suggestions for misspelt keys follow from this list, and a test compares
docs/configuration.md with it. Settings of several keys (workers, schedulers, builders, database) are read in
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
        name: its name in master.cfg.
        check: gives the value, perhaps in another form, or raises ValueError.
        default: the value if the key is not set.
        meaning: one line for people.
        has_effect: False for keys of existing configurations that are accepted without effect; a value other than the
            default is a warning.
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
    Key("titleURL", checks.url, "", "the link of the title, by default buildbotURL"),
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
    Key("schedulers", checks.sequence, [], "the schedulers, which decide when to build"),
    Key("builders", checks.sequence, [], "the builders, a list of util.BuilderConfig"),
    Key("projects", checks.sequence, [], "the projects of builders, a list of util.Project"),
    Key("codebases", checks.sequence, [], "the repositories of projects, a list of util.Codebase"),
    Key("www", checks.anything, {}, "the web server"),
    Key("properties", checks.properties, {}, "properties of every build that does not set them otherwise"),
    Key(
        "collapseRequests",
        _collapse,
        False,
        "whether equal waiting requests are built once: True, False or f(master, builder, new, old)",
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
        "f(change) gives the codebase of a change that names none",
    ),
    Key(
        "revlink",
        checks.function,
        default_revlink_matcher,
        "f(revision, repository) gives the link of a change that has none, or None; by default links to"
        " GitHub, GitLab, Bitbucket and SourceForge",
    ),
    Key("retention", checks.mapping, {}, "how long logs, builds and changes are kept"),
    Key(
        "configurators", checks.sequence, [], "configurators, which extend the configuration: util.JanitorConfigurator"
    ),
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
        "only UTF-8: workers decode the output of commands, by their unicode_encoding, and send text",
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
        "patterns of allowed values in forms: branch, revision, property_name, property_value",
    ),
    Key(
        "mq",
        checks.mapping,
        {},
        "message queue; none is needed, masters that share a database find each other",
    ),
    Key("metrics", checks.optional(checks.mapping), None, "metrics of the master", has_effect=False),
    Key("secretsProviders", checks.sequence, [], "the providers of secrets, which are asked in this order"),
    Key("services", checks.sequence, [], "reporters and other services, each with a name of its own"),
    Key("machines", checks.sequence, [], "machines of workers that the master starts and stops"),
    Key(
        "select_next_worker",
        checks.optional(checks.function),
        None,
        "f(builder, workers, buildrequest) chooses the worker for builders without nextWorker",
    ),
    Key("user_managers", checks.sequence, [], "the services that answer `buildbot user --master`: a list"),
    Key(
        "manhole",
        checks.optional(_manhole),
        None,
        "an interactive prompt inside the master: a util.AuthorizedKeysManhole",
    ),
)

#: every known key by its name
KEYS: dict[str, Key] = {entry.name: entry for entry in _entries}

#: keys of older versions and of other tools, and their replacements
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
