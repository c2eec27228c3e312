"""Column types that carry their meaning; values stay what drivers give, so that rows need no conversion in between."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, SmallInteger, String, Text


class Id(BigInteger):
    """Number of a row."""


class UnixTime(BigInteger):
    """Whole seconds since the epoch, UTC."""


class Flag(SmallInteger):
    """0 or 1."""


class JsonText(Text):
    """JSON as text, written by ``buildbot.util.jsontext``."""


class ListText(JsonText):
    """A JSON list with its elements between newlines, so that SQL can find one."""


class Hash(String):
    """32 hexadecimal digits standing for text of any length (``checks.name_hash``)."""

    def __init__(self, length: int = 32) -> None:
        super().__init__(length)


class Blob(LargeBinary):
    """Bytes of any length."""
