"""``c['www']``: the web server's part of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from buildbot.config import checks
from buildbot.config.ports import endpoint


def _port(value: Any) -> str:
    # Whoever wants the page on other interfaces than loopback says so by an endpoint.
    return endpoint(value, interface="127.0.0.1")


def _no_login(value: Any) -> None:
    if value is not None:
        raise ValueError(
            "cannot be used: this version has no login of its own. Remove it and let the server listen on "
            "loopback (its default), behind a proxy that asks who it is"
        )


#: key → (check, what it means; empty for what is accepted and has no effect here)
KEYS: dict[str, tuple[checks.Check, str]] = {
    "port": (
        checks.optional(_port),
        "TCP port, on loopback, or an endpoint such as `tcp:8010:interface=0.0.0.0`; None: no web server",
    ),
    "plugins": (checks.mapping, "views that the page offers, by name"),
    "allowed_origins": (
        checks.list_of(checks.text),
        "patterns of the origins whose pages may call the API from a browser",
    ),
    "ws_ping_interval": (checks.number(), "seconds between WebSocket pings, 0 for none"),
    "json_cache_seconds": (checks.whole_number(), "seconds for which browsers may keep API replies"),
    "rest_default_limit": (checks.whole_number(1), "rows of a growing collection when no limit is asked for"),
    "rest_max_limit": (checks.whole_number(1), "the highest limit that may be asked for"),
    "ui_default_config": (checks.mapping, "default settings of the page"),
    "default_page": (checks.text, "name of the view shown first"),
    "theme": (checks.mapping, "colours of the page"),
    "auth": (_no_login, "login; refused by this version"),
    "authz": (_no_login, "roles; refused by this version"),
    "change_hook_dialects": (checks.mapping, ""),
    "change_hook_auth": (checks.sequence, ""),
    "avatar_methods": (checks.anything, ""),
    "cookie_expiration_time": (checks.anything, ""),
    "cookie_secret": (checks.anything, ""),
    "custom_templates_dir": (checks.anything, ""),
    "debug": (checks.boolean, ""),
    "extra_headers": (checks.mapping, ""),
    "graphql": (checks.anything, ""),
    "logfileName": (checks.anything, ""),
    "logRotateLength": (checks.anything, ""),
    "maxRotatedFiles": (checks.anything, ""),
    "rest_minimum_version": (checks.anything, ""),
    "versions": (checks.sequence, ""),
}


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
        """Views that the page offers."""
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
    """``c['www']`` as a `WwwConfig`; each mistake is told to ``report``, what has no effect to ``warn``.

    Raises:
        ValueError: it is no dictionary.
    """
    checked: dict[str, Any] = {}
    for key, given in checks.mapping(value).items():
        if key not in KEYS:
            report(f"['{key}'] is unknown{checks.suggestion(key, KEYS)}")
            continue
        check, meaning = KEYS[key]
        try:
            checked[key] = check(given)
        except ValueError as reason:
            report(f"['{key}'] {reason}")
        else:
            if not meaning:
                warn(f"['{key}'] has no effect in this version")
    return WwwConfig(checked)
