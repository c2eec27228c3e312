"""Answers that are given again as long as nothing changes."""

from __future__ import annotations

from collections import OrderedDict

from buildbot.www.http.messages import Response

#: what of a request decides on the bytes of the answer
Key = tuple[tuple[str, ...], str, bool, frozenset[str]]
#: what an answer takes besides its body and what was asked for
_OVERHEAD_BYTES = 1024


class ResponseCache:
    """Answers of one version of the database, the oldest of which make room for new ones.

    Args:
        most_bytes: that all of them may take together; 0 keeps none.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._version: int | None = None
        self._kept: OrderedDict[Key, Response] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def get(self, key: Key, version: int) -> Response | None:
        """The answer that was given at this version, or None."""
        return self._kept.get(key) if version == self._version else None

    def put(self, key: Key, version: int, response: Response) -> None:
        """Keep an answer, unless it is a stream; ``version`` was the database's before it was read."""
        size = _size(key, response)
        if size * 4 > self._most_bytes or not isinstance(response.body, bytes):
            return
        if version != self._version:
            self._version = version
            self._kept.clear()
            self._bytes = 0
        if key not in self._kept:
            self._kept[key] = response
            self._bytes += size
        while self._bytes > self._most_bytes:
            self._bytes -= _size(*self._kept.popitem(last=False))


def _size(key: Key, response: Response) -> int:
    path, query, *_ = key
    asked = sum(map(len, path)) + len(query)
    return _OVERHEAD_BYTES + asked + (len(response.body) if isinstance(response.body, bytes) else 0)
