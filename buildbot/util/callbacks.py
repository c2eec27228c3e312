"""Addresses of a master's web server at which other services call parts of it: ``<buildbotURL>callback/NAME``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

#: gets the headers of a POST (names in lower case) and its body, and gives the status of the answer
Callback: TypeAlias = Callable[[Mapping[str, str], bytes], Awaitable[int]]

_known: WeakKeyDictionary[Any, dict[str, Callback]] = WeakKeyDictionary()


def callbacks_of(master: Any) -> dict[str, Callback]:
    """The callbacks of a master, by names that cannot be guessed; services add theirs while they run."""
    if master not in _known:
        _known[master] = {}
    return _known[master]
