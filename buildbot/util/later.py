"""Attributes that are set after an object is made."""

from __future__ import annotations

from typing import Any


def set_later() -> Any:
    """None, for a class attribute that each object gets before its first use; for type checkers of the declared type.

    ``master: Master = set_later()`` says that the master is there when the object works, so nobody asks for None.
    """
    return None
