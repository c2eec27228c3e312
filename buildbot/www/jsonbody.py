"""JSON of responses: compact or indented, keys sorted at every level."""

from __future__ import annotations

import json
import re

import orjson

from buildbot.util.jsontext import JSON

#: in one text from outside: more take seconds to be read, and meanwhile nothing else happens
MAX_VALUES = 250_000
#: a text in JSON, or what begins as one; it never looks at anything twice
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def compact(value: object) -> bytes:
    """``value`` with sorted keys and no blanks."""
    try:
        return orjson.dumps(value, option=_SORTED)
    except TypeError:
        # A property may hold an integer over 64 bits, which orjson refuses.
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def pretty(value: object) -> bytes:
    """``value`` with sorted keys, indented by two, for people."""
    try:
        return orjson.dumps(value, option=_SORTED | orjson.OPT_INDENT_2)
    except TypeError:
        return json.dumps(value, sort_keys=True, indent=2).encode()


def frame(value: object) -> bytes:
    """``value`` for an event frame: compact, keys in their own order."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def parse(text: bytes) -> JSON:
    """The value of a JSON text; ValueError if it is not JSON, or has more than `MAX_VALUES` values."""
    if _has_many_values(text):
        raise ValueError(f"more than {MAX_VALUES} values")
    found: JSON = json.loads(text)
    return found


def _has_many_values(text: bytes) -> bool:
    """Whether to read a JSON text would keep everybody else waiting; a text in it may be of any length."""
    if text.count(b'"') - text.count(b'\\"') > 2 * MAX_VALUES:
        return True
    return _signs(text) > MAX_VALUES and _signs(_TEXT.sub(b"", text)) > MAX_VALUES


def _signs(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")
