"""Conversions between text and bytes, for plugins."""

from __future__ import annotations

from typing import Any


def bytes2unicode(value: Any, encoding: str = "utf-8", errors: str = "strict") -> str | None:
    """Decode bytes; text and None stay.

    Raises:
        UnicodeDecodeError: the bytes are not in this encoding.
    """
    return value.decode(encoding, errors) if isinstance(value, bytes) else value


def unicode2bytes(value: Any, encoding: str = "utf-8", errors: str = "strict") -> Any:
    """Encode text; other values stay.

    Raises:
        UnicodeEncodeError: the encoding has no such character.
    """
    return value.encode(encoding, errors) if isinstance(value, str) else value
