"""CORS: the origins whose pages may call the API, and the headers for their browsers."""

from __future__ import annotations

from buildbot.www.errors import RefusedError
from buildbot.www.http.messages import Request, Response
from buildbot.www.settings import Settings

_METHODS = frozenset({"GET", "POST", "HEAD"})


def check_origin(request: Request, settings: Settings) -> tuple[tuple[str, str], ...]:
    """The headers that every reply to ``request`` needs; a request without ``Origin`` needs none.

    A browser sends ``Origin`` with every POST, so this also keeps other sites' pages from forcing or stopping builds
    with a visitor's browser.

    Raises:
        RefusedError: 400, the origin is not allowed.
    """
    origin = request.header("origin")
    if origin is None:
        return ()
    if not settings.allows_origin(origin):
        raise RefusedError(400, "invalid origin")
    return (
        ("Access-Control-Allow-Origin", origin.lower()),
        ("Access-Control-Allow-Headers", "Content-Type"),
        ("Access-Control-Expose-Headers", "X-Tenfold-Clock, ETag"),
        ("Access-Control-Max-Age", "3600"),
        ("Vary", "Origin"),
    )


def preflight(request: Request) -> Response:
    """The answer to ``OPTIONS`` from an origin that has been checked."""
    if request.header("origin") is None:
        raise RefusedError(400, "invalid HTTP method")
    if request.header("access-control-request-method") not in _METHODS:
        raise RefusedError(400, "invalid method")
    return Response(200, (("Content-Type", "text/html"),))
