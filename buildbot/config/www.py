"""``c['www']``: the web server's part of the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from importlib.metadata import entry_points
from typing import Any

from buildbot.config import checks
from buildbot.config.badges import check_badges
from buildbot.config.dashboards import check_dashboards
from buildbot.config.hooks import check_dialects
from buildbot.config.ports import endpoint, is_loopback
from buildbot.interfaces import AuthLike, AuthzLike, AvatarLike

#: Buildbot's page, by the name of its package
EXISTING = "buildbot-www"


def _port(value: Any) -> str:
    # A bare number listens on loopback; an endpoint may name other interfaces.
    return endpoint(value, interface="127.0.0.1")


def _like(kind: type, example: str) -> checks.Check:
    """An object of this shape."""

    def check(value: Any) -> Any:
        if isinstance(value, type) or not isinstance(value, kind):
            raise ValueError(f"must be {example}, not {checks.kind(value)}")
        return value

    return checks.optional(check)


def _avatar_methods(value: Any) -> list[Any]:
    """One source of pictures or several, as a list."""
    given = list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
    for number, each in enumerate(given, 1):
        if isinstance(each, type) or not isinstance(each, AvatarLike):
            place = f"element {number} " if isinstance(value, list | tuple) else ""
            raise ValueError(
                f"{place}must be a source of pictures such as util.AvatarGitHub(), not {checks.kind(each)}"
            )
    return given


#: views of the page of `buildbot-www`, in packages of their own
_EXISTING_VIEWS = ("console_view", "grid_view", "waterfall_view")
#: plugins that need no package: the check of their options
_OWN_PLUGINS: dict[str, checks.Check] = {"badges": check_badges, "wsgi_dashboards": check_dashboards}


def _plugins(value: Any) -> dict[str, Any]:
    """Options of plugins by name."""
    plugins = checks.mapping(value)
    for name, check in _OWN_PLUGINS.items():
        if name in plugins:
            try:
                check(plugins[name])
            except ValueError as reason:
                raise ValueError(f"[{name!r}]{'' if str(reason).startswith('[') else ' '}{reason}") from None
    return plugins


def _rest_version(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 2:
        raise ValueError(f"must be a number from 0 to 2, since there is only version 2, not {checks.kind(value)}")
    return value


def _versions(value: Any) -> list[tuple[str, ...]]:
    versions = []
    for number, each in enumerate(checks.sequence(value), 1):
        texts = isinstance(each, list | tuple) and all(isinstance(text, str) for text in each)
        if not texts or len(each) < 2:
            raise ValueError(
                f"element {number} must be a tuple of a name and at least one text, not {checks.kind(each)}"
            )
        versions.append(tuple(each))
    return versions


def _log_file(value: Any) -> str:
    # while a configuration is loaded, paths are relative to its directory
    if checks.text(value) and not os.path.isdir(os.path.dirname(os.path.abspath(value))):
        raise ValueError(f"must be a file in a directory that is there, not {value!r}")
    return str(value)


def _lifetime(value: Any) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, timedelta) or value <= timedelta():
        raise ValueError(f"must be a datetime.timedelta above zero, not {checks.kind(value)}")
    return value


def _checker(value: Any) -> Any:
    if isinstance(value, str):
        # not at the top: they import Twisted's command line, and few configurations have a checker
        from twisted.cred.checkers import FilePasswordDB
        from twisted.cred.strcred import makeChecker

        try:
            checker = makeChecker(value)
        except Exception as reason:
            raise ValueError(f"makes no credentials checker: {value!r} ({reason or type(reason).__name__})") from None
        if isinstance(checker, FilePasswordDB):
            # while a configuration is loaded, paths are relative to its directory
            checker.filename = os.path.abspath(checker.filename)
        return checker
    if hasattr(value, "requestAvatarId"):
        return value
    raise ValueError(f"must be a credentials checker, or a text such as 'file:passwords', not {checks.kind(value)}")


#: key → (check, meaning; empty for keys that are accepted without effect)
KEYS: dict[str, tuple[checks.Check, str]] = {
    "port": (
        checks.optional(_port),
        "TCP port, on loopback, or an endpoint such as `tcp:8010:interface=0.0.0.0`; None: no web server",
    ),
    "plugins": (
        _plugins,
        "views of the page of `buildbot-www`, by name; their packages must be installed. Without package:"
        " `badges`, `wsgi_dashboards` ([dashboards.md](dashboards.md))",
    ),
    "allowed_origins": (
        checks.list_of(checks.text),
        "patterns of the origins whose pages may call the API from a browser",
    ),
    "allowed_hosts": (
        checks.list_of(checks.text),
        "further names, or patterns such as `*.example.org`, by which browsers reach this server; those of"
        " `buildbotURL`, of this machine, `localhost` and addresses are always allowed",
    ),
    "ws_ping_interval": (checks.number(), "seconds between WebSocket pings, 0 for none"),
    "json_cache_seconds": (checks.whole_number(), "seconds for which browsers may keep API replies"),
    "rest_default_limit": (checks.whole_number(1), "rows of a growing collection for requests without limit"),
    "rest_max_limit": (checks.whole_number(1), "the highest limit of a request"),
    "rest_cache_bytes": (
        checks.whole_number(0),
        "bytes of memory for replies that are given again while nothing changes",
    ),
    "ui_default_config": (checks.mapping, "default settings of the page of `buildbot-www`"),
    "default_page": (checks.text, "name of the view shown first"),
    "theme": (checks.mapping, "colours of the page of `buildbot-www`"),
    "ui": (
        checks.optional(checks.one_of(EXISTING)),
        "`'buildbot-www'`: the page of that package and its views, which must be installed; default: our own",
    ),
    "auth": (_like(AuthLike, "an auth such as util.UserPasswordAuth({…})"), "how people log in: [login.md](login.md)"),
    "authz": (_like(AuthzLike, "a util.Authz(…)"), "the rules of who may do what: [login.md](login.md)"),
    "cookie_expiration_time": (_lifetime, "the lifetime of a login, a `datetime.timedelta`; a week by default"),
    "change_hook_dialects": (check_dialects, "the change hooks: [hooks.md](hooks.md)"),
    "change_hook_auth": (
        checks.optional(checks.list_of(_checker)),
        "names and passwords for change hooks: [hooks.md](hooks.md)",
    ),
    "avatar_methods": (
        _avatar_methods,
        "the sources of pictures of people, by default `util.AvatarGravatar()`; `[]`: none",
    ),
    "debug": (checks.boolean, "whether pages show why a dashboard failed"),
    "rest_minimum_version": (
        _rest_version,
        "the lowest version of the REST interface, at most 2, which is the only one",
    ),
    "versions": (_versions, "further lines of the page About: a list of tuples of a name and one or more texts"),
    "logfileName": (
        checks.optional(_log_file),
        "the log of requests, in the master's directory, `http.log` by default; None: they go to `twistd.log`",
    ),
    "logRotateLength": (
        checks.optional(checks.whole_number(1)),
        "bytes after which the log of requests is rotated; by default as `twistd.log`",
    ),
    "maxRotatedFiles": (
        checks.optional(checks.whole_number(0)),
        "the number of old logs of requests that are kept; by default as for `twistd.log`",
    ),
    "custom_templates_dir": (checks.anything, ""),
    "graphql": (checks.anything, ""),
    "jsonp": (checks.anything, ""),
}


#: keys of existing configurations without effect, and the reasons
NO_EFFECT: dict[str, str] = {
    "custom_templates_dir": "templates were those of the page of Buildbot before 4.0; see wsgi_dashboards for pages of"
    " your own",
    "graphql": "GraphQL has been removed from Buildbot; use REST",
    "jsonp": "JSONP has been removed from Buildbot; use allowed_origins",
}

#: removed keys, and their replacements
RENAMED: dict[str, str] = {"url": "it is c['buildbotURL']"}


class WwwConfig(Mapping[str, Any]):
    """``c['www']``, checked; a read-only mapping of the keys that are set, ``port`` an endpoint description.

    Args:
        values: the keys and values, already checked.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = dict(values or {})

    @property
    def port(self) -> str | None:
        """The Twisted endpoint description to listen on; None: no web server."""
        port: str | None = self._values.get("port")
        return port

    @property
    def plugins(self) -> Mapping[str, Any]:
        """The options of plugins, by name."""
        plugins: Mapping[str, Any] = self._values.get("plugins", {})
        return plugins

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        # Values may be secrets.
        return f"<WwwConfig {', '.join(self._values)}>"


def check_www(value: Any, report: Callable[[str], None], warn: Callable[[str], None]) -> WwwConfig:
    """``c['www']`` as a `WwwConfig`; ``report`` is called with each mistake, ``warn`` with each setting without effect.

    Raises:
        ValueError: it is no dictionary.
    """
    checked: dict[str, Any] = {}
    for key, given in checks.mapping(value).items():
        if key not in KEYS:
            hint = f": {RENAMED[key]}" if key in RENAMED else checks.suggestion(key, KEYS)
            report(f"['{key}'] is unknown{hint}")
            continue
        check, meaning = KEYS[key]
        try:
            checked[key] = check(given)
        except ValueError as reason:
            report(f"['{key}'] {reason}")
        else:
            if not meaning:
                warn(f"['{key}'] has no effect in this version: {NO_EFFECT[key]}")
    _check_packages(checked, report, warn)
    if checked.get("auth") is None and checked.get("port") and not is_loopback(checked["port"]):
        warn(
            "['port'] is open to others and there is no login, so that everybody may look and nobody may control; "
            "set ['auth'], to util.NoAuth() if everybody may"
        )
    return WwwConfig(checked)


def _check_packages(checked: Mapping[str, Any], report: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """What the existing page consists of must be there; for our own page it has no effect, and is said so."""
    plugins = checked.get("plugins", {})
    if checked.get("ui") != EXISTING and all(name in _OWN_PLUGINS or name == "console_view" for name in plugins):
        return  # the installed packages are not looked for in vain
    names = {entry.name for entry in entry_points(group="buildbot.www")}
    if checked.get("ui") != EXISTING:
        for name in plugins:
            if name in _OWN_PLUGINS or name == "console_view":  # our page has one of its own
                continue
            if name in names or name in _EXISTING_VIEWS:
                warn(f"['plugins'][{name!r}] has no effect: it is a view of the page that ['ui'] = {EXISTING!r} gives")
            else:
                hint = checks.suggestion(name, {*names, *_OWN_PLUGINS, *_EXISTING_VIEWS})
                report(f"['plugins'][{name!r}] is not installed{hint}")
        return
    for name in ("base", *checked.get("plugins", {})):
        if name not in names and name != "badges":
            package = EXISTING if name == "base" else f"buildbot-{name.replace('_', '-')}"
            report(f"needs {package}, which is not installed: pip install --no-deps {package}")
