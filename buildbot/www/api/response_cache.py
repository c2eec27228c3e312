"""A cache of responses, which are given again while the database is the same."""

from __future__ import annotations

from collections import OrderedDict

from buildbot.www.http.messages import Response

#: the parts of a request that decide on the bytes of the response
Key = tuple[tuple[str, ...], str, bool, frozenset[str]]
#: the memory of a response besides its body and its key
_OVERHEAD_BYTES = 1024


class ResponseCache:
    """Responses of one version of the database; new ones displace the oldest ones.

    Args:
        most_bytes: the limit of their memory; 0: it keeps none.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._version: int | None = None
        self._kept: OrderedDict[Key, Response] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def get(self, key: Key, version: int) -> Response | None:
        """The response of this version; None if there is none."""
        return self._kept.get(key) if version == self._version else None

    def put(self, key: Key, version: int, response: Response) -> None:
        """Keep a response, unless it is a stream. ``version`` is the database's version before the read."""
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
