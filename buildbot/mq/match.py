"""An index of patterns, which finds the matching ones without testing the others."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

#: None matches any one segment
Pattern = tuple[str | None, ...]
Shape = tuple[int, ...]


class PatternIndex(Generic[T]):
    """Listeners by pattern.

    Patterns of one length that fix the same positions have one shape. For a key, each shape of its length takes one
    dictionary look-up, for any number of listeners.
    """

    def __init__(self) -> None:
        self._shapes: dict[int, dict[Shape, dict[tuple[str, ...], dict[T, None]]]] = {}

    def add(self, pattern: Pattern, listener: T) -> None:
        """Add a listener for a pattern."""
        shape = tuple(i for i, segment in enumerate(pattern) if segment is not None)
        fixed = tuple(segment for segment in pattern if segment is not None)
        listeners = self._shapes.setdefault(len(pattern), {}).setdefault(shape, {}).setdefault(fixed, {})
        listeners[listener] = None

    def remove(self, pattern: Pattern, listener: T) -> None:
        """Remove a listener of a pattern; nothing happens if it is not there."""
        shape = tuple(i for i, segment in enumerate(pattern) if segment is not None)
        fixed = tuple(segment for segment in pattern if segment is not None)
        shapes = self._shapes.get(len(pattern), {})
        listeners = shapes.get(shape, {}).get(fixed, {})
        listeners.pop(listener, None)
        if not listeners and shape in shapes:
            shapes[shape].pop(fixed, None)
            if not shapes[shape]:
                del shapes[shape]

    def matching(self, key: tuple[str, ...]) -> list[T]:
        """The listeners whose pattern matches; a listener with several matching patterns comes once for each."""
        found: list[T] = []
        for shape, by_fixed in self._shapes.get(len(key), {}).items():
            found += by_fixed.get(tuple([key[i] for i in shape]), ())
        return found


def matches(pattern: Pattern, key: tuple[str, ...]) -> bool:
    """Whether one pattern matches a key."""
    return len(pattern) == len(key) and all(p is None or p == k for p, k in zip(pattern, key, strict=True))
