"""Chunks of logs: decompressed from any of Buildbot's compressions, and made into Tenfold's chunks."""

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

#: the most bytes of a decompressed chunk: far more than Buildbot writes, and few enough for memory
MAX_TEXT = 256 * 1024 * 1024
#: modules and packages for compressions that the standard library does not have
_PACKAGES = {upstream.LZ4: ("lz4.block", "lz4"), upstream.BROTLI: ("brotli", "Brotli")}

#: columns of Tenfold's chunks
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
    # the frames have no size of their content
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
    """The text of a chunk in UTF-8, each line with its newline.

    Args:
        content: the column ``content``.
        compressed: the column ``compressed``, a number of `upstream`.
        lines: the number of lines that the chunk must have.

    Raises:
        DamagedChunkError: it cannot be decompressed, is no UTF-8, or has another number of lines.
        ImportRefusedError: the package for its compression is missing.
    """
    decompress = _DECOMPRESS.get(compressed)
    if decompress is None:
        raise DamagedChunkError(f"its compression {compressed!r} is unknown")
    try:
        text = decompress(bytes(content) if content is not None else b"") + b"\n"
        text.decode()
    except ImportRefusedError:
        raise
    except UnicodeDecodeError:
        raise DamagedChunkError("its text is no UTF-8") from None
    except Exception as error:  # each library has other errors
        raise DamagedChunkError(f"it cannot be decompressed: {error}") from None
    if text.count(b"\n") != lines:
        raise DamagedChunkError(f"it has {text.count(bytes([10]))} lines, not {lines}")
    return text


class LogText:
    """Makes Tenfold's chunks of one log.

    Attributes:
        lines: the number of lines so far.
        problems: sentences on missing and damaged chunks.
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
        """Take in chunks, in the order of their lines; yields a row, with `COLUMNS`, for each full chunk."""
        for _, first, last, content, compressed in chunks:
            if not isinstance(first, int) or not isinstance(last, int) or last < first:
                self.problems.append(f"the chunk with lines {first} to {last} is left out: the range is invalid")
                continue
            if first < self._expected:
                self.problems.append(
                    f"the chunk with lines {first} to {last} is left out: it overlaps an earlier chunk"
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
        """Yield the rows of the lines that were not yielded yet."""
        for piece in pieces_of(b"".join(self._held)):
            count = piece.count(b"\n")
            compressed, content = packed(piece)
            yield self.logid, self._first, self._first + count - 1, compressed, content
            self._first += count
        self._held, self._size = [], 0
