"""Which way in a request takes; the one list of URL roots (http-api 1.1, 7.1)."""

from __future__ import annotations

from dataclasses import dataclass

from buildbot.www import jsonbody, rest
from buildbot.www.cors import check_origin, preflight
from buildbot.www.errors import INTERNAL_ERROR, RefusedError
from buildbot.www.jsonrpc import JsonRpc
from buildbot.www.messages import Request, Response
from buildbot.www.rest import RestApi
from buildbot.www.settings import Settings
from buildbot.www.sse import EventStreams
from buildbot.www.static import StaticFiles

_API_VERSIONS = ("v2", "latest")
_HTML = ("Content-Type", "text/html; charset=utf-8")


@dataclass(frozen=True, slots=True)
class App:
    """Answers every request but the WebSocket handshake."""

    settings: Settings
    rest: RestApi
    rpc: JsonRpc
    streams: EventStreams
    files: StaticFiles

    async def handle(self, request: Request) -> Response:
        """The reply; only what nobody foresaw is raised."""
        segments = request.segments()
        root = segments[0]
        if root == "api" and len(segments) > 1 and segments[1] in _API_VERSIONS:
            return await self._api(request, segments[2:])
        if request.method not in ("GET", "HEAD"):
            return _page(405, "Method Not Allowed", ("Allow", "GET, HEAD"))
        if segments == ("api",):
            versions = {"api_versions": {"v2": f"{self.settings.buildbot_url}api/v2"}}
            return Response(200, (("Content-Type", "application/json"),), jsonbody.compact(versions))
        if segments == ("config",):
            headers = (("Content-Type", "application/json"), ("Cache-Control", "public,max-age=0"))
            return Response(200, headers, jsonbody.compact(self.settings.public))
        if root == "sse":
            return await self.streams.handle(request, segments[1:])
        return self.files.handle(request, segments) or _page(404, "No Such Resource")

    async def _api(self, request: Request, path: tuple[str, ...]) -> Response:
        try:
            origin_headers = check_origin(request, self.settings)
            if request.method == "OPTIONS":
                return preflight(request).with_headers(*origin_headers)
            if request.method not in ("GET", "HEAD", "POST"):
                raise RefusedError(400, "invalid HTTP method")
        except RefusedError as error:
            if request.method != "POST":
                return rest.error_response(error)
            body = jsonbody.compact({"error": {"message": error.message}})
            return Response(error.status, (("Content-Type", "text/plain; charset=utf-8"),), body)
        handler = self.rpc if request.method == "POST" else self.rest
        return (await handler.handle(request, path)).with_headers(*origin_headers)


def internal_error() -> Response:
    """The reply to a request whose handler failed; the reason is in the master's log."""
    return rest.error_response(RefusedError(500, "internal error - see logs", INTERNAL_ERROR))


def _page(status: int, title: str, *headers: tuple[str, str]) -> Response:
    body = f"<!doctype html><title>{status} - {title}</title><h1>{title}</h1>".encode()
    return Response(status, (_HTML, *headers), body)
