"""JSON of responses: compact or indented, keys sorted at every level."""

from __future__ import annotations

import json
from typing import Any

import orjson

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def compact(value: Any) -> bytes:
    """``value`` with sorted keys and no blanks."""
    try:
        return orjson.dumps(value, option=_SORTED)
    except TypeError:
        # A property may hold an integer over 64 bits, which orjson refuses.
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def pretty(value: Any) -> bytes:
    """``value`` with sorted keys, indented by two, for people."""
    try:
        return orjson.dumps(value, option=_SORTED | orjson.OPT_INDENT_2)
    except TypeError:
        return json.dumps(value, sort_keys=True, indent=2).encode()


def frame(value: Any) -> bytes:
    """``value`` for an event frame: compact, keys in their own order."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def parse(text: bytes) -> Any:
    """The value of a JSON text, with integers of any size; ValueError if it is not JSON."""
    return json.loads(text)
