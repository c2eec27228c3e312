"""The settings of the HTTP server as one frozen value, made from ``c['www']`` and its neighbours."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from buildbot.interfaces import AvatarLike
from buildbot.util.jsontext import JSON

#: keys of ``c['www']`` that never leave the master
_PRIVATE_KEYS = frozenset(
    {
        "allowed_hosts",
        "auth",
        "authz",
        "avatar_methods",
        "change_hook_auth",
        "change_hook_dialects",
        "cookie_expiration_time",
        "cookie_secret",
        "custom_templates_dir",
    }
)
_CACHE_BYTES = 8 * 1024 * 1024
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the HTTP server.

    Attributes:
        buildbot_url: the URL that people see, always with a slash at its end.
        listen: a Twisted endpoint description, or None for no server.
        allowed_origins: shell patterns of origins, lower case, that browsers may call from.
        default_limit: rows of a growing collection when the client names no ``limit``.
        max_limit: the highest ``limit`` a client may ask of a growing collection.
        ws_ping_interval_s: seconds between protocol pings, 0 for none.
        json_cache_s: seconds for the ``Expires`` header of API replies, 0 for none.
        rest_cache_bytes: the memory of API replies that are kept while nothing changes, 0 for none.
        allowed_hosts: shell patterns of names, lower case, by which browsers may know this server.
        public: the object served at ``/config``.
    """

    buildbot_url: str
    listen: str | None
    allowed_origins: tuple[str, ...]
    default_limit: int = 1000
    max_limit: int = 10_000
    ws_ping_interval_s: float = 0
    json_cache_s: int = 0
    rest_cache_bytes: int = _CACHE_BYTES
    allowed_hosts: tuple[str, ...] = ()
    public: Mapping[str, Any] = field(default_factory=dict)

    def is_known_as(self, host: str) -> bool:
        """Whether a ``Host`` header names this server.

        A foreign page whose own name points to this server (DNS rebinding) sends that name, and could read all that the
        visitor's browser may read. An address cannot be misused so.
        """
        name = host_of(host)
        return _is_address(name) or any(fnmatchcase(name, pattern) for pattern in self.allowed_hosts)

    def allows_origin(self, origin: str) -> bool:
        """True if pages of this origin may call."""
        return any(fnmatchcase(origin.lower(), pattern) for pattern in self.allowed_origins)


def make_settings(
    www: Mapping[str, Any], buildbot_url: str, title: str = "Buildbot", title_url: str | None = None
) -> Settings:
    """Settings from the configuration's values.

    Args:
        www: ``c['www']``: port (int: that TCP port on loopback; str: a Twisted endpoint description; None:
            no server), allowed_origins, ws_ping_interval, json_cache_seconds, rest_default_limit,
            rest_max_limit, rest_cache_bytes, allowed_hosts, plugins and other values that are shown at ``/config``.
        buildbot_url: ``c['buildbotURL']``.
        title, title_url: ``c['title']``, ``c['titleURL']``.
    """
    url = buildbot_url if buildbot_url.endswith("/") else buildbot_url + "/"
    max_limit = int(www.get("rest_max_limit") or 10_000)
    return Settings(
        buildbot_url=url,
        listen=_endpoint(www.get("port")),
        allowed_origins=tuple(pattern.lower() for pattern in www.get("allowed_origins") or _own_origins(url)),
        default_limit=min(int(www.get("rest_default_limit") or 1000), max_limit),
        max_limit=max_limit,
        ws_ping_interval_s=float(www.get("ws_ping_interval") or 0),
        json_cache_s=int(www.get("json_cache_seconds") or 0),
        rest_cache_bytes=int(www.get("rest_cache_bytes", _CACHE_BYTES)),
        allowed_hosts=_hosts(url, www),
        public=_public(www, url, title, title_url or url),
    )


def _endpoint(port: object) -> str | None:
    if port is None:
        return None
    if isinstance(port, int) or str(port).isdigit():
        return f"tcp:{port}:interface=127.0.0.1"
    return str(port)


def _own_origins(url: str) -> tuple[str, ...]:
    """The origins of ``url``: a loopback host has several names."""
    parts = urlsplit(url)
    host, port = parts.netloc, ""
    name, colon, number = parts.netloc.rpartition(":")
    if colon and number.isdigit():
        host, port = name, ":" + number
    hosts = sorted(_LOOPBACK) if host.lower() in _LOOPBACK else [host]
    # fnmatch takes the brackets of IPv6 addresses for a character class.
    return tuple(f"{parts.scheme}://{name.replace('[', '[[]')}{port}".lower() for name in hosts)


def host_of(netloc: str) -> str:
    """The host of ``host:port``, lower case and without the brackets of IPv6 addresses or a dot at its end."""
    name, colon, port = netloc.strip().rpartition(":")
    if not colon or not (port.isdigit() or not port):
        name = netloc.strip()
    return name.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _hosts(url: str, www: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of this server: the host of ``url``, this machine's name, those of loopback, and the configured ones."""
    own = (host_of(urlsplit(url).netloc), host_of(socket.gethostname()), "localhost", "*.localhost")
    given: Sequence[str] = www.get("allowed_hosts") or ()
    return (*own, *(name.lower() for name in given))


def _public(www: Mapping[str, Any], url: str, title: str, title_url: str) -> dict[str, Any]:
    shown = {key: _plain(value) for key, value in www.items() if key not in _PRIVATE_KEYS}
    return {
        "port": None,
        "plugins": {},
        # Only with a list Buildbot's page shows a picture beside the name of the user.
        "avatar_methods": _avatar_methods(www),
        "logfileName": "http.log",
        **shown,
        "auth": {"name": "NoAuth"},
        "authz": {},
        "versions": [*_versions(), *map(list, www.get("versions") or ())],
        "buildbotURL": url,
        "title": title,
        "titleURL": title_url,
        "multiMaster": False,
        "user": {"anonymous": True},
    }


def _avatar_methods(www: Mapping[str, Any]) -> object:
    methods: Sequence[AvatarLike] | None = www.get("avatar_methods")
    return {"name": "gravatar"} if methods is None else [each.getConfigDict() for each in methods]


def _versions() -> list[list[str]]:
    try:
        own = version("tenfold")
    except PackageNotFoundError:
        own = "unreleased"
    return [["Python", platform.python_version()], ["Tenfold", own], ["Twisted", version("twisted")]]


def _plain(value: object) -> JSON:
    """``value`` if JSON can hold it, otherwise its text; mappings and sequences element by element."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
