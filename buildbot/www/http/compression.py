"""Compressed bodies, for clients that accept them."""

from __future__ import annotations

import gzip
import re
from functools import lru_cache

import zstandard

from buildbot.www.http.messages import Request, Response

#: the content codings of this server
CODINGS = frozenset({"zstd", "gzip"})
#: below this, compressing costs more than it saves
MIN_BYTES = 1400
_MAX_REMEMBERED = 200
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def accepted(request: Request) -> frozenset[str]:
    """The content codings of this server that the client accepts; ``q=0`` refuses one, ``*`` means all others."""
    header = request.header("accept-encoding") or ""
    # Clients send few different values, all of them short; a long one is not remembered.
    return _codings(header) if len(header) <= _MAX_REMEMBERED else _codings.__wrapped__(header)


@lru_cache(maxsize=256)
def _codings(header: str) -> frozenset[str]:
    taken: dict[str, bool] = {}
    for part in header.lower().split(","):
        coding, *parameters = (each.strip() for each in part.split(";"))
        taken[coding.removeprefix("x-")] = all(_takes(each) for each in parameters)
    return frozenset(each for each in CODINGS if taken.get(each, taken.get("*", False)))


def _takes(parameter: str) -> bool:
    """Whether a parameter of a coding is no refusal; a weight of 0 is one, and so is a malformed weight."""
    name, _, weight = (each.strip() for each in parameter.partition("="))
    return name != "q" or (_WEIGHT.fullmatch(weight) is not None and float(weight) > 0)


def compressed(request: Request, response: Response) -> Response:
    """``response`` with a compressed body, if the client accepts it and it saves enough."""
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
