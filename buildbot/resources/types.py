"""Column types that tell the meaning of values. Values stay as drivers give them, so rows need no conversion."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, SmallInteger, String, Text


class Id(BigInteger):
    """The number of a row."""


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
