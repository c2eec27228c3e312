"""JSON for the wire: compact or indented, keys sorted at every level."""

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
        # Integers over 64 bits, which a property may hold, are JSON but not orjson's.
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def pretty(value: Any) -> bytes:
    """``value`` with sorted keys, indented by two, for people."""
    try:
        return orjson.dumps(value, option=_SORTED | orjson.OPT_INDENT_2)
    except TypeError:
        return json.dumps(value, sort_keys=True, indent=2).encode()


def frame(value: Any) -> bytes:
    """``value`` compact and in its own order, as event frames are written."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def parse(text: bytes) -> Any:
    """The value of a JSON text; ValueError if it is none (integers of any size are taken)."""
    return json.loads(text)
