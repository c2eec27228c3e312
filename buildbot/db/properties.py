"""Properties as callers give them: ``{name: (value, source)}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildbot.util import checks, jsontext

Properties = Mapping[str, tuple[Any, str]]


def checked(properties: Any, what: str = "properties") -> dict[str, tuple[Any, str]]:
    """The properties, if they are a dictionary of pairs with text as names and sources.

    Raises TypeError or ValueError naming ``what`` and the property.
    """
    if not isinstance(properties, Mapping):
        raise TypeError(f"{what} must be a dictionary, not {type(properties).__name__}")
    result: dict[str, tuple[Any, str]] = {}
    for name, pair in properties.items():
        checks.text(name, f"a name in {what}")
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"{what}[{name!r}] must be a pair (value, source), not {pair!r}")
        result[name] = (pair[0], checks.text(pair[1], f"the source of {what}[{name!r}]"))
    return result


def dumps(properties: Mapping[str, tuple[Any, str]], what: str = "properties") -> str:
    """JSON text of ``{name: [value, source]}``."""
    return jsontext.dumps({name: [value, source] for name, (value, source) in properties.items()}, what)


def loads(text: str) -> dict[str, tuple[Any, str]]:
    """The pairs again, as tuples."""
    return {name: (value, source) for name, (value, source) in jsontext.loads(text).items()}
