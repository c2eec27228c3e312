"""Checks of arguments, made before anything is written; each error names the argument.

TypeError for a wrong type, ValueError for a wrong value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

#: the largest id or time, and the largest other integer, that every database stores
MAX_INT = 2**63 - 1
MAX_SMALL = 2**31 - 1
#: the most characters of a text, by the strictest database: LONGTEXT in one packet of default size
MAX_TEXT = 15_000_000
#: the most bytes of a value: on the way to the server they take twice the room, in one packet
MAX_BYTES = 7_000_000
#: what travels with every list of its noun is shorter: reasons, what names code and people (a branch, an author), a
#: change's comments and how many files it has, what a worker says of itself
MAX_REASON = 100_000
MAX_NAME = 100_000
MAX_COMMENTS = 1_000_000
MAX_FILES = 100_000
MAX_INFO = 1_000_000
#: the longest identifier
MAX_IDENTIFIER = 70

_IDENTIFIER = re.compile(r"[a-zA-Z_-][a-zA-Z0-9._-]*")


def text(value: Any, what: str, maximum: int = MAX_TEXT) -> str:
    """``value`` if it is text of at most ``maximum`` characters that every database can store."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be text, not {type(value).__name__}")
    if "\x00" in value:
        raise ValueError(f"{what}: text with U+0000 cannot be stored")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what}: text with a lone surrogate cannot be stored") from None
    if len(value) > maximum:
        raise ValueError(f"{what}: {len(value)} characters are more than {maximum}")
    return value


def optional_text(value: Any, what: str, maximum: int = MAX_TEXT) -> str | None:
    """``value`` if it is None or storable text of at most ``maximum`` characters."""
    return None if value is None else text(value, what, maximum)


def integer(value: Any, what: str, minimum: int = 0, maximum: int = MAX_SMALL) -> int:
    """``value`` if it is an integer from ``minimum`` to ``maximum``; True and False are not."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an integer, not {type(value).__name__}")
    if not minimum <= value <= maximum:
        raise ValueError(f"{what}: {value} is not between {minimum} and {maximum}")
    return value


def seconds(value: Any, what: str) -> int:
    """``value`` if it is a time in whole Unix seconds."""
    return integer(value, what, -MAX_INT, MAX_INT)


def identifier(value: Any, what: str) -> int:
    """``value`` if it can be an id; it is not checked whether a row has it."""
    return integer(value, what, -MAX_INT, MAX_INT)


def identifiers(values: Any, what: str) -> list[int]:
    """The distinct ids of an iterable, ascending: rows are locked in this order, so that crossed calls cannot
    deadlock.
    """
    # first the quick check, which nearly always succeeds
    if type(values) is not list and (isinstance(values, str | bytes) or not isinstance(values, Iterable)):
        raise TypeError(f"{what} must be a list of integers, not {type(values).__name__}")
    distinct = set()
    for value in values:
        if type(value) is not int or not -MAX_INT <= value <= MAX_INT:
            identifier(value, what)
        distinct.add(value)
    return sorted(distinct)


def texts(values: Any, what: str, maximum: int | None = None) -> list[str]:
    """The list of texts given, in its order; ``maximum`` texts at most, of ``MAX_TEXT`` characters together."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{what} must be a list of text, not {type(values).__name__}")
    found = [text(value, what) for value in values]
    if maximum is not None and len(found) > maximum:
        raise ValueError(f"{what}: {len(found)} are more than {maximum}")
    if sum(map(len, found)) > MAX_TEXT:
        raise ValueError(f"{what}: {sum(map(len, found))} characters are more than {MAX_TEXT} together")
    return found


def path_name(value: Any, what: str) -> str:
    """``value`` if it is text for paths: letters, digits, ``.``, ``_``, ``-``, at most 70."""
    text(value, what)
    if len(value) > MAX_IDENTIFIER or not _IDENTIFIER.fullmatch(value):
        raise ValueError(
            f"{what}: {value!r} is not 1 to {MAX_IDENTIFIER} letters, digits, '.', '_' or '-' that begin with no digit"
            " or '.'"
        )
    return str(value)


def data(value: Any, what: str) -> bytes:
    """``value`` if it is bytes that every database can store in one piece."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{what} must be bytes, not {type(value).__name__}")
    found = bytes(value)
    if len(found) > MAX_BYTES:
        raise ValueError(f"{what}: {len(found)} bytes are more than {MAX_BYTES}")
    return found


def boolean(value: Any, what: str) -> bool:
    """``value`` if it is True, False, 0 or 1."""
    if value is True or value is False or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{what} must be true or false, not {value!r}")


def one_of(value: Any, allowed: tuple[Any, ...], what: str) -> Any:
    """``value`` if it is identical to an allowed one, or equal to one of the same type."""
    for option in allowed:
        if value is option or (type(value) is type(option) and value == option):
            return value
    raise ValueError(f"{what}: {value!r} is none of {', '.join(map(repr, allowed))}")


def name_hash(*parts: str) -> str:
    """The hash of text of any length, for unique indexes and exact look-ups: 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()
