"""Logs: chunks of lines in every compression that Buildbot has, made into chunks of ours."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

import zstandard

from buildbot.db.logs import MAX_CHUNK, packed, pieces_of
from buildbot.importing import upstream
from buildbot.importing.report import ImportRefusedError
from buildbot.importing.source import Row

#: bytes that a chunk may hold: far more than any has, and no more than fits into memory
MAX_TEXT = 256 * 1024 * 1024
#: the packages that decompress what the standard library does not
_PACKAGES = {upstream.LZ4: ("lz4.block", "lz4"), upstream.BROTLI: ("brotli", "Brotli")}

#: columns of our chunks
COLUMNS = ("logid", "first_line", "last_line", "compressed", "content")


class DamagedChunkError(Exception):
    """A chunk cannot be read; the message says why."""


@cache
def _module(kind: int) -> Any:
    module, package = _PACKAGES[kind]
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise ImportRefusedError(
            f"logs in this database are compressed by {package}, which needs a package that is not installed;"
            " pip install 'tenfold[import]'"
        ) from None


def _gz(data: bytes) -> bytes:
    return _whole(zlib.decompressobj(), data)


def _bz2(data: bytes) -> bytes:
    return _whole(bz2.BZ2Decompressor(), data)


def _whole(decompressor: Any, data: bytes) -> bytes:
    text: bytes = decompressor.decompress(data, MAX_TEXT)
    if not decompressor.eof:
        raise ValueError("the data ends too early, or is too long")
    return text


def _lz4(data: bytes) -> bytes:
    if len(data) < 4 or int.from_bytes(data[:4], "little") > MAX_TEXT:
        raise ValueError("the data is too short or too long")
    text: bytes = _module(upstream.LZ4).decompress(data)
    return text


def _zstd(data: bytes) -> bytes:
    # frames without the size of their content
    text = zstandard.ZstdDecompressor().stream_reader(data).read(MAX_TEXT + 1)
    if len(text) > MAX_TEXT:
        raise ValueError("the data is too long")
    if not text:
        raise ValueError("the data ends too early")
    return text


def _brotli(data: bytes) -> bytes:
    brotli = _module(upstream.BROTLI)
    decompressor = brotli.Decompressor()
    text: bytes = decompressor.process(data)
    if not decompressor.is_finished():
        raise ValueError("the data ends too early")
    return text


_DECOMPRESS: dict[int, Callable[[bytes], bytes]] = {
    upstream.RAW: bytes,
    upstream.GZ: _gz,
    upstream.BZ2: _bz2,
    upstream.LZ4: _lz4,
    upstream.ZSTD: _zstd,
    upstream.BROTLI: _brotli,
}


def text_of(content: Any, compressed: Any, lines: int) -> bytes:
    """The UTF-8 of a chunk, each of its lines ending in a newline.

    Raises:
        DamagedChunkError: it has no such text.
        ImportRefusedError: a package is missing.
    """
    decompress = _DECOMPRESS.get(compressed)
    if decompress is None:
        raise DamagedChunkError(f"nothing is known of its compression {compressed!r}")
    try:
        text = decompress(bytes(content) if content is not None else b"") + b"\n"
        text.decode()
    except ImportRefusedError:
        raise
    except UnicodeDecodeError:
        raise DamagedChunkError("its text is no UTF-8") from None
    except Exception as error:  # each library has errors of its own
        raise DamagedChunkError(f"it cannot be decompressed: {error}") from None
    if text.count(b"\n") != lines:
        raise DamagedChunkError(f"it has {text.count(bytes([10]))} lines, not the {lines} that it says")
    return text


class LogText:
    """The chunks of one log, as ours.

    Attributes:
        lines: how many there are so far.
        problems: what is wrong with the log, in words.
    """

    def __init__(self, logid: int) -> None:
        self.logid = logid
        self.lines = 0
        self.problems: list[str] = []
        self._first = 0
        self._held: list[bytes] = []
        self._size = 0
        self._expected = 0

    def add(self, chunks: Iterable[Row]) -> Iterator[tuple[Any, ...]]:
        """Take chunks, in the order of their lines; gives rows of ours as soon as they are full."""
        for _, first, last, content, compressed in chunks:
            if not isinstance(first, int) or not isinstance(last, int) or last < first:
                self.problems.append(f"the chunk with lines {first} to {last} is left out: there are no such lines")
                continue
            if first < self._expected:
                self.problems.append(
                    f"the chunk with lines {first} to {last} is left out: it has lines for a second time"
                )
                continue
            if first > self._expected:
                self.problems.append(f"lines {self._expected} to {first - 1} are missing")
            self._expected = last + 1
            try:
                text = text_of(content, compressed, last - first + 1)
            except DamagedChunkError as error:
                self.problems.append(f"the chunk with lines {first} to {last} is left out: {error}")
                continue
            if self._held and self._size + len(text) > MAX_CHUNK:
                yield from self.flush()
            self._held.append(text)
            self._size += len(text)
            self.lines += last - first + 1

    def flush(self) -> Iterator[tuple[Any, ...]]:
        """The rest that has not been returned yet."""
        for piece in pieces_of(b"".join(self._held)):
            count = piece.count(b"\n")
            compressed, content = packed(piece)
            yield self.logid, self._first, self._first + count - 1, compressed, content
            self._first += count
        self._held, self._size = [], 0
