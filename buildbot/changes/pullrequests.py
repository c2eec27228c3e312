"""What the pollers of pull requests share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from buildbot.config import checks

#: of pull requests that are closed, so many heads are remembered: one may be opened again
_MAX_CLOSED = 1000


def wanted(value: Any) -> Any:
    """Check the argument ``pullrequest_filter``."""
    if not isinstance(value, bool) and not callable(value):
        raise ValueError(f"must be True, False or a function of a pull request, not {checks.kind(value)}")
    return value


def kept(heads: Mapping[str, str], open_ones: Iterable[int]) -> dict[str, str]:
    """The heads to remember, by number: of all open pull requests, and of those that were closed last."""
    numbers = {str(each) for each in open_ones}
    closed = set(sorted((number for number in heads if number not in numbers), key=int)[-_MAX_CLOSED:])
    return {number: head for number, head in heads.items() if number in numbers or number in closed}


def chosen(name: str, pull: Mapping[str, Any], patterns: Collection[str]) -> dict[str, Any]:
    """What becomes properties of a change: the fields of a pull request, joined by dots behind ``name``, that a pattern
    names."""
    return {
        field: value for field, value in _flat(name, pull) if any(fnmatchcase(field, pattern) for pattern in patterns)
    }


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value and what is in it, by names joined with dots; of dictionaries only what is in them."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}", each)
    else:
        yield name, value
