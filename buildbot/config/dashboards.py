"""Users' dashboards inside the page: ``c['www']['plugins']['wsgi_dashboards']``."""

from __future__ import annotations

import re
from typing import Any

from buildbot.config import checks

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"must be letters, digits, '_' and '-' only, since it is part of addresses; not {value!r}")
    return value


def _app(value: Any) -> Any:
    if not callable(value) or isinstance(value, type) or not hasattr(value, "__dict__"):
        raise ValueError(f"must be a WSGI application such as flask.Flask(__name__), not {checks.kind(value)}")
    return value


#: each setting's check, and whether it is required
_SETTINGS: dict[str, tuple[checks.Check, bool]] = {
    "name": (_name, True),
    "caption": (checks.name, True),
    "app": (_app, True),
    "order": (checks.optional(checks.number(float("-inf"))), False),
    "icon": (checks.optional(checks.text), False),
}


def check_dashboards(value: Any) -> list[dict[str, Any]]:
    """The dashboards, in the order of the configuration.

    Raises:
        ValueError: names the dashboard and the setting, and says what is allowed.
    """
    dashboards = [] if value is True or value is None or value == {} else checks.list_of(_dashboard)(value)
    names = [each["name"] for each in dashboards]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"has two dashboards named {name!r}; names must be unique")
    return dashboards


def _dashboard(value: Any) -> dict[str, Any]:
    given = checks.mapping(value)
    for name in given:
        if name not in _SETTINGS:
            raise ValueError(f"[{name!r}] is unknown{checks.suggestion(name, _SETTINGS)}")
    for name, (check, required) in _SETTINGS.items():
        if name in given:
            try:
                check(given[name])
            except ValueError as reason:
                raise ValueError(f"[{name!r}] {reason}") from None
        elif required:
            raise ValueError(f"needs {name!r}: {{'name': …, 'caption': …, 'app': …}}")
    return given
