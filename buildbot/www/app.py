"""The application: the list of URL roots, and the handler of each request."""

from __future__ import annotations

from dataclasses import dataclass

from buildbot.util.callbacks import callbacks_of
from buildbot.www import jsonbody
from buildbot.www.api import openapi, rest
from buildbot.www.api.jsonrpc import JsonRpc
from buildbot.www.api.openapi import OpenApi
from buildbot.www.api.rest import RestApi
from buildbot.www.errors import RefusedError
from buildbot.www.gate import Gate
from buildbot.www.hooks.receiver import ChangeHooks
from buildbot.www.http.cors import check_origin, preflight
from buildbot.www.http.messages import Request, Response
from buildbot.www.login import Login
from buildbot.www.operating import Operating
from buildbot.www.sessions import Visitor
from buildbot.www.settings import Settings
from buildbot.www.stream.sse import EventStreams
from buildbot.www.ui.pages import Pages

_API_VERSIONS = ("v2", "latest")
_OPERATING = frozenset({("metrics",), ("health",), ("ready",)})
_HTML = ("Content-Type", "text/html; charset=utf-8")


@dataclass(frozen=True, slots=True)
class App:
    """Answers every request but the WebSocket handshake."""

    settings: Settings
    gate: Gate
    rest: RestApi
    rpc: JsonRpc
    described: OpenApi
    streams: EventStreams
    pages: Pages
    login: Login
    hooks: ChangeHooks
    operating: Operating

    async def handle(self, request: Request) -> Response:
        """The response to a request; raises only unforeseen errors.

        Every request but the WebSocket handshake comes through here, also for kept responses and 304: so the visitor's
        rights are checked here.
        """
        segments = request.segments()
        try:
            visitor = await self.gate.admit(request, segments)
        except RefusedError as error:
            return self._refused(request, segments, error)
        root = segments[0]
        if root == "api" and len(segments) > 1 and segments[1] in _API_VERSIONS:
            return await self._api(request, segments[2:], visitor)
        if root == "change_hook":
            return await self.hooks.handle(request, segments[1:])
        if root == "callback" and request.method == "POST":
            return await self._call_back(request, segments[1:])
        if segments[:2] == ("plugins", "wsgi_dashboards"):
            return await self.pages.handle(request, segments, visitor) or _page(404, "No Such Resource")
        if request.method not in ("GET", "HEAD"):
            return _page(405, "Method Not Allowed", ("Allow", "GET, HEAD"))
        if segments == ("api",):
            versions = {"api_versions": {"v2": f"{self.settings.buildbot_url}api/v2"}}
            return Response(200, (("Content-Type", "application/json"),), jsonbody.compact(versions))
        if segments in _OPERATING:
            return await self.operating.handle(root)
        if root == "sse":
            return await self.streams.handle(request, segments[1:], visitor)
        if root == "auth" and len(segments) > 1:
            return await self.login.handle(request, segments[1:], visitor)
        return await self.pages.handle(request, segments, visitor) or _page(404, "No Such Resource")

    async def _call_back(self, request: Request, path: tuple[str, ...]) -> Response:
        called = callbacks_of(self.gate.master).get("/".join(path))
        status = 404 if called is None else await called(request.headers, request.body)
        return Response.text(status, b"")

    def _refused(self, request: Request, segments: tuple[str, ...], why: RefusedError) -> Response:
        """A refusal that a page of another origin may read, too, if it may call the API."""
        response = rest.error_response(why)
        if segments[0] != "api":
            return response
        try:
            return response.with_headers(*check_origin(request, self.settings))
        except RefusedError:
            return response

    async def _api(self, request: Request, path: tuple[str, ...], visitor: Visitor) -> Response:
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
            return Response.text(error.status, body)
        if request.method == "POST":
            response = await self.rpc.handle(request, path, visitor)
        elif path == (openapi.NAME,):
            response = self.described.handle(request)
        else:
            response = await self.rest.handle(request, path)
        return response.with_headers(*origin_headers)


def plain_error(status: int, why: str) -> Response:
    """The response to a request that reached no handler, or whose handler failed."""
    return rest.error_response(RefusedError(status, why))


def _page(status: int, title: str, *headers: tuple[str, str]) -> Response:
    body = f"<!doctype html><title>{status} - {title}</title><h1>{title}</h1>".encode()
    return Response(status, (_HTML, *headers), body)
