"""The limit of a log's size: its beginning is stored, and its end, but not the middle."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

#: lines of one stream
Lines = tuple[str, list[str]]


class Truncation:
    """Decides which lines of a log are stored.

    Args:
        max_bytes: of the beginning of the log; the lines after it are dropped.
        tail_bytes: of the end of the log, which is stored all the same.
    """

    def __init__(self, max_bytes: int, tail_bytes: int) -> None:
        self._max_bytes, self._tail_bytes = max_bytes, tail_bytes
        self._stored_bytes = 0
        self._truncated = False
        self._tail: deque[tuple[str, str, int]] = deque()
        self._bytes_in_tail = 0

    def stored(self, stream: str, lines: list[str]) -> Iterator[Lines]:
        """The lines of these to store now; a header line follows them where the limit is exceeded."""
        stored = []
        for line in lines:
            size = len(line.encode("utf-8", "replace")) + 1
            if not self._truncated and self._stored_bytes + size <= self._max_bytes:
                self._stored_bytes += size
                stored.append(line)
                continue
            if not self._truncated:
                self._truncated = True
                yield stream, stored
                stored = []
                yield "h", [f"Output exceeded {self._max_bytes} bytes, remaining output has been truncated"]
            self._add_to_tail(stream, line, size)
        yield stream, stored

    def _add_to_tail(self, stream: str, line: str, size: int) -> None:
        self._tail.append((stream, line, size))
        self._bytes_in_tail += size
        while self._bytes_in_tail > self._tail_bytes:
            self._bytes_in_tail -= self._tail.popleft()[2]

    def end(self) -> Iterator[Lines]:
        """The end of the log, to store when the log finishes."""
        if self._tail:
            yield "h", [f"Final {self._bytes_in_tail} bytes follow below:"]
            for stream, line, _ in self._tail:
                yield stream, [line]
            self._tail.clear()
