"""Whole logs as downloads: streamed in parts, compressed for clients that accept it, or a range of bytes."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncGenerator
from typing import TypedDict

import zstandard

from buildbot.www.errors import RefusedError
from buildbot.www.http.compression import accepted
from buildbot.www.http.messages import Request, Response
from buildbot.www.interfaces import Data

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\"\\/;]")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class _Zstd:
    """A zstd frame for each part, so that no part waits for the next one."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def end(self) -> bytes:
        return b""


class _Gzip:
    def __init__(self) -> None:
        self._compressor = zlib.compressobj(1, zlib.DEFLATED, 31)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def end(self) -> bytes:
        return self._compressor.flush()


_ENCODERS: dict[str, type[_Zstd] | type[_Gzip]] = {"zstd": _Zstd, "gzip": _Gzip}


class RawLog(TypedDict):
    """A log with the names that its download has, as the Data API gives it."""

    logid: int
    type: str
    slug: str
    num_lines: int
    complete: bool
    builder: str | None
    number: int | None
    worker: str | None
    step: str | None


async def download(data: Data, request: Request, log: RawLog, inline: bool) -> Response:
    """The log at a path that ends in ``raw`` or ``raw_inline``.

    Stdio logs lose the letter of the stream in each line, and get three lines with builder, build and worker. Clients
    can ask for a range of bytes of a complete log. An incomplete log comes whole, and so does a log of which a client
    asks for several ranges.

    Raises:
        RefusedError: 416, the range begins after the end.
    """
    kind = log["type"]
    builder, number, worker, step = map(_known, (log["builder"], log["number"], log["worker"], log["step"]))
    content_type = "text/html" if kind == "h" else "text/plain"
    headers = [("Content-Type", f"{content_type}; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    if inline:
        # A build decides what is in its logs: a browser must not run them as pages of this server.
        headers.append(("Content-Security-Policy", "sandbox"))
    else:
        name = f"{builder}_build_{number}_step_{step}_log_{log['slug']}"
        headers.append(("Content-Disposition", f"attachment; filename={_header_text(name)}"))
    head = b""
    if kind == "s":
        head = f"Builder: {builder}\nBuild number: {number}\nWorker name: {worker}\n".encode("utf-8", "replace")
    if log["complete"]:
        headers.append(("Accept-Ranges", "bytes"))
        wanted = _RANGE.fullmatch(request.header("range") or "")
        if wanted is not None and wanted[0] != "bytes=-":
            return await _part(data, log, head, wanted, headers)
    codings = accepted(request)
    coding = next((name for name in _ENCODERS if name in codings), None)
    parts: AsyncGenerator[bytes, None] = _parts(data, log, head)
    if coding is None:
        return Response(200, tuple(headers), parts)
    return Response(200, (*headers, ("Content-Encoding", coding)), _encoded(parts, _ENCODERS[coding]()))


async def _part(
    data: Data, log: RawLog, head: bytes, wanted: re.Match[str], headers: list[tuple[str, str]]
) -> Response:
    chunks = await data.log_sizes(log["logid"], log["type"] == "s")
    total = len(head) + sum(size for _, size in chunks)
    first, last = wanted.groups()
    if first:
        start, end = int(first), min(int(last) + 1, total) if last else total
    else:
        start, end = max(total - int(last), 0), total
    if start >= end:
        raise RefusedError(416, f"there are {total} bytes")
    headers.append(("Content-Range", f"bytes {start}-{end - 1}/{total}"))
    position, line = 0, 0
    if start >= len(head):
        position, head = len(head), b""
        for first_line, size in chunks:
            if position + size > start:
                line = first_line
                break
            position += size
    parts = _parts(data, log, head, line)
    return Response(206, tuple(headers), _cut(parts, start - position, end - start))


async def _parts(data: Data, log: RawLog, head: bytes, line: int = 0) -> AsyncGenerator[bytes, None]:
    if head:
        yield head
    while not (log["complete"] and line >= log["num_lines"]):
        found = await data.log_bytes(log["logid"], line, log["type"] == "s")
        if found is None:
            return
        part, line = found
        yield part


async def _cut(parts: AsyncGenerator[bytes, None], skip: int, length: int) -> AsyncGenerator[bytes, None]:
    try:
        async for part in parts:
            piece = part[skip : skip + length]
            skip = max(skip - len(part), 0)
            length -= len(piece)
            yield piece
            if not length:
                return
    finally:
        await parts.aclose()


async def _encoded(parts: AsyncGenerator[bytes, None], encoder: _Zstd | _Gzip) -> AsyncGenerator[bytes, None]:
    try:
        async for part in parts:
            yield encoder.encode(part)
        yield encoder.end()
    finally:
        await parts.aclose()


def _known(name: object) -> object:
    """The value; ``unknown`` if the record is gone."""
    return "unknown" if name is None else name


def _header_text(text: str) -> str:
    """``text`` for a header: Latin-1, without characters that end or split the value."""
    return _UNSAFE.sub("_", text).encode("latin-1", "replace").decode("latin-1")
