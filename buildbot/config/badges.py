"""Options of badges: ``c['www']['plugins']['badges']``, and the parameters of a request that change them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from buildbot.config import checks
from buildbot.util.results import Results

_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3,4}){1,2}|[a-zA-Z]{1,30}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{3}){1,2}")
_NAME = re.compile(r"[\w][\w .+-]{0,99}")
_MOST_CHARACTERS = 200

#: the states of a badge, besides results
STATES = ("unknown", "running")


def _text(value: Any) -> str:
    if len(checks.text(value)) > _MOST_CHARACTERS:
        raise ValueError(f"must have at most {_MOST_CHARACTERS} characters")
    return str(value)


def _colour(value: Any) -> str:
    """A colour; in the addresses of badges it has no ``#``."""
    if isinstance(value, str) and _HEX.fullmatch(value):
        return f"#{value}"
    if not isinstance(value, str) or not _COLOUR.fullmatch(value):
        raise ValueError(f"must be a colour such as '#4c1' or 'green', not {checks.kind(value)}")
    return value


def _pixels(value: Any) -> int | float:
    """A number from 0 to 100, or its text."""
    try:
        number = float(value) if isinstance(value, str) else checks.number()(value)
    except ValueError:
        number = -1
    if not 0 <= number <= 100:
        raise ValueError(f"must be a number from 0 to 100, not {checks.kind(value)}")
    return int(number) if number == int(number) else number


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"must be a name of letters, digits, blanks, '.', '+' and '-', not {checks.kind(value)}")
    return value


def _template_name(value: Any) -> str:
    _name(checks.text(value).replace("{style}", "x"))
    return str(value)


def _colour_scheme(value: Any) -> dict[str, str]:
    colours = {}
    for state, colour in checks.mapping(value).items():
        if state not in DEFAULTS["color_scheme"]:
            known = DEFAULTS["color_scheme"]
            raise ValueError(f"[{state!r}] is unknown{checks.suggestion(state, known)}; there are {', '.join(known)}")
        try:
            colours[state] = _colour(colour)
        except ValueError as reason:
            raise ValueError(f"[{state!r}] {reason}") from None
    return {**DEFAULTS["color_scheme"], **colours}


_OTHER_COLOURS = {"unknown": "#9f9f9f", "cancelled": "#9f9f9f", "skipped": "#a4a61d", "warnings": "#dfb317"}
_RESULT_COLOURS = {"success": "#4c1", "failure": "#e05d44"} | _OTHER_COLOURS

#: each option's default
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "left_text": "Build Status",
        "left_color": "#555",
        "left_pad": 5,
        "right_pad": 5,
        "border_radius": 5,
        "style": "plastic",
        "template_name": "{style}.svg.j2",
        "font_face": "DejaVu Sans",
        "font_size": 11,
        "color_scheme": {name: _RESULT_COLOURS.get(name, "#007ec6") for name in (*STATES, *Results)},
    }
)
#: the parameters of a request, with their checks
_OF_REQUESTS: Mapping[str, checks.Check] = {
    "left_text": _text,
    "left_color": _colour,
    "left_pad": _pixels,
    "right_pad": _pixels,
    "border_radius": _pixels,
    "style": _name,
    "template_name": _template_name,
    "font_face": _name,
    "font_size": _pixels,
}
_CHECKS: Mapping[str, checks.Check] = {**_OF_REQUESTS, "color_scheme": _colour_scheme}


def check_badges(value: Any) -> dict[str, Any]:
    """The options of badges, with defaults for missing ones.

    Raises:
        ValueError: names the option, and says what is allowed.
    """
    given = {} if value is True or value is None else checks.mapping(value)
    options = dict(DEFAULTS)
    for name, each in given.items():
        if name not in _CHECKS:
            raise ValueError(f"[{name!r}] is unknown{checks.suggestion(name, _CHECKS)}")
        try:
            options[name] = _CHECKS[name](each)
        except ValueError as reason:
            raise ValueError(f"[{name!r}] {reason}") from None
    return options


def of_request(options: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """The options of one badge: those of the configuration, changed by the parameters of its address.

    Other parameters are ignored; people add some against caches.

    Raises:
        ValueError: names the parameter, and says what is allowed.
    """
    changed = dict(options)
    for name, check in _OF_REQUESTS.items():
        if name in parameters:
            try:
                changed[name] = check(parameters[name])
            except ValueError as reason:
                raise ValueError(f"{name} {reason}") from None
    return changed
