"""An index of patterns, which finds the matching ones without testing the others."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: None matches any one segment
Pattern = tuple[str | None, ...]
Shape = tuple[int, ...]


class PatternIndex(Generic[T]):
    """Listeners by pattern.

    Patterns of one length that fix the same positions have one shape. For a key, each shape of its length that may have
    its first segment takes one dictionary look-up, for any number of listeners. Most keys begin as no pattern does.
    """

    def __init__(self) -> None:
        #: by length and first segment
        self._shapes: dict[tuple[int, str | None], dict[Shape, _Alike[T]]] = {}

    def add(self, pattern: Pattern, listener: T) -> None:
        """Add a listener for a pattern."""
        shape = tuple(i for i, segment in enumerate(pattern) if segment is not None)
        shapes = self._shapes.setdefault(_head(pattern), {})
        alike = shapes.get(shape)
        if alike is None:
            alike = shapes[shape] = _Alike(shape)
        alike.listeners.setdefault(alike.fixed(pattern), {})[listener] = None

    def remove(self, pattern: Pattern, listener: T) -> None:
        """Remove a listener of a pattern; nothing happens if it is not there."""
        shape = tuple(i for i, segment in enumerate(pattern) if segment is not None)
        shapes = self._shapes.get(_head(pattern), {})
        alike = shapes.get(shape)
        if alike is None:
            return
        fixed = alike.fixed(pattern)
        listeners = alike.listeners.get(fixed, {})
        listeners.pop(listener, None)
        if not listeners:
            alike.listeners.pop(fixed, None)
            if not alike.listeners:
                del shapes[shape]
                if not shapes:
                    del self._shapes[_head(pattern)]

    def matching(self, key: tuple[str, ...]) -> list[T]:
        """The listeners whose pattern matches; a listener with several matching patterns comes once for each."""
        found: list[T] = []
        length = len(key)
        for first in (key[0], None) if key else (None,):
            shapes = self._shapes.get((length, first))
            if shapes is not None:
                for alike in shapes.values():
                    listeners = alike.listeners.get(alike.fixed(key))
                    if listeners is not None:
                        found += listeners
        return found


def _head(pattern: Pattern) -> tuple[int, str | None]:
    return len(pattern), pattern[0] if pattern else None


class _Alike(Generic[T]):
    """The listeners of all patterns of one shape."""

    __slots__ = ("fixed", "listeners")

    def __init__(self, shape: Shape) -> None:
        #: the segments of a pattern or key at the fixed positions
        self.fixed: Callable[[Pattern], Any] = itemgetter(*shape) if shape else _nothing
        self.listeners: dict[Any, dict[T, None]] = {}


def _nothing(pattern: Pattern) -> None:
    """The segments at no position."""
    return


def matches(pattern: Pattern, key: tuple[str, ...]) -> bool:
    """Whether one pattern matches a key."""
    return len(pattern) == len(key) and all(p is None or p == k for p, k in zip(pattern, key, strict=True))
