"""Smaller bodies for clients that take them."""

from __future__ import annotations

import gzip

import zstandard

from buildbot.www.http.messages import Request, Response

#: content codings that are spoken
CODINGS = frozenset({"zstd", "gzip"})
#: below this, compressing costs more than it saves
MIN_BYTES = 1400


def accepted(request: Request) -> frozenset[str]:
    """The content codings that the client takes; one with ``q=0`` is refused by it."""
    codings = set()
    for part in (request.header("accept-encoding") or "").split(","):
        coding, _, weight = part.strip().partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0"):
            codings.add(coding.strip().lower())
    return frozenset(codings)


def compressed(request: Request, response: Response) -> Response:
    """``response`` with a compressed body if the client takes one and it is worth it."""
    if not isinstance(response.body, bytes) or len(response.body) < MIN_BYTES:
        return response
    codings = accepted(request)
    if "zstd" in codings:
        return Response(
            response.status,
            (*response.headers, ("Content-Encoding", "zstd")),
            zstandard.ZstdCompressor(level=1).compress(response.body),
        )
    if "gzip" in codings:
        return Response(
            response.status,
            (*response.headers, ("Content-Encoding", "gzip")),
            gzip.compress(response.body, compresslevel=1, mtime=0),
        )
    return response
