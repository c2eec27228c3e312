"""Text and bytes: what plugins use to make one of the other."""

from __future__ import annotations

from typing import Any


def bytes2unicode(value: Any, encoding: str = "utf-8", errors: str = "strict") -> str | None:
    """Bytes as text; text and None stay.

    Raises:
        UnicodeDecodeError: they are not in this encoding.
    """
    return value.decode(encoding, errors) if isinstance(value, bytes) else value


def unicode2bytes(value: Any, encoding: str = "utf-8", errors: str = "strict") -> Any:
    """Text as bytes; everything else stays.

    Raises:
        UnicodeEncodeError: the encoding has no such character.
    """
    return value.encode(encoding, errors) if isinstance(value, str) else value
