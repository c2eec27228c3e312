"""A copy of the entities at a path: made from a snapshot, kept by events, compared with a later snapshot."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from buildbot.resources.base import Resource

#: the attributes that change without an event, on purpose: the time of the last heartbeat
_UNANNOUNCED = frozenset({"last_active"})


def is_announced(resource: Resource) -> bool:
    """Whether events tell of a noun from its first moment on; of source stamps they tell only that they are removed."""
    return bool(set(resource.event_names) - {"deleted"})


def comparable(resource: Resource, entity: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that events and snapshots have in common."""
    kept = {name: _without_beats(value) for name, value in entity.items() if name in resource.fields}
    kept = {name: value for name, value in kept.items() if name not in _UNANNOUNCED}
    if resource.name == "buildset" and kept.get("results", 0) is None:
        kept["results"] = -1  # of a new buildset messages say None
    return kept


def _without_beats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: inner for name, inner in value.items() if name not in _UNANNOUNCED}
    return value


def checksum(key: str, message: Any) -> int:
    """A number that stands for an event's key and message."""
    return zlib.crc32(key.encode() + orjson.dumps(message, option=orjson.OPT_SORT_KEYS))


class Replica:
    """The resources at a path, by their key.

    Args:
        resource: the noun.
        rows: the snapshot.
        above: only resources with a higher key are looked at.
    """

    def __init__(self, resource: Resource, rows: Iterable[Mapping[str, Any]], above: int = 0) -> None:
        self._resource = resource
        self._above = above
        self.rows = self._by_key(rows)

    def apply(self, message: Mapping[str, Any]) -> None:
        """Let an event's message take effect."""
        key = message[self._resource.key]
        if (not isinstance(key, int) or key > self._above) and len(message) > 1:
            self.rows.setdefault(key, {}).update(comparable(self._resource, message))

    def differences(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """The differences of a later snapshot, attribute by attribute."""
        there = self._by_key(rows)
        found = []
        for key in sorted({*self.rows, *there}):
            ours, theirs = self.rows.get(key), there.get(key)
            if ours is None or theirs is None:
                found.append(f"{self._resource.name} {key}: {'only in the snapshot' if ours is None else 'not in it'}")
                continue
            for name in sorted({*ours, *theirs}):
                if ours.get(name) != theirs.get(name):
                    said, is_ = ours.get(name), theirs.get(name)
                    found.append(f"{self._resource.name} {key}.{name}: events say {said!r}, the snapshot {is_!r}")
        return found

    def _by_key(self, rows: Iterable[Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
        return {row[self._resource.key]: comparable(self._resource, row) for row in rows}
