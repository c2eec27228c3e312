"""The page of this machine with the data of another master, for those who write views of the page.

The files of the page are those that are installed here. Everything else is asked of the other master, WebSockets
included; what it says of itself at ``/config`` goes on with other ``plugins``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.python.failure import Failure

from buildbot.util.httpclient import Answer, HttpClient, HttpError
from buildbot.util.reactor import IReactor
from buildbot.util.transport import IStream
from buildbot.www import jsonbody
from buildbot.www.api.rest import error_response
from buildbot.www.errors import RefusedError
from buildbot.www.http.messages import Request, Response
from buildbot.www.plugin import installed, static_files
from buildbot.www.ui.pages import PackageFiles, index_page
from buildbot.www.ui.static import StaticFiles

#: bytes of the answer to a handshake
_MAX_HEAD = 16 * 1024
#: what concerns one connection, or is made anew
_OWN_HEADERS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "keep-alive", "upgrade", "cookie"}
)
_ANSWERED = ("content-type", "cache-control", "etag", "expires", "location", "www-authenticate")
#: names of the cookie of a session: Buildbot's and ours
_COOKIES = ("TWISTED_SESSION", "tenfold_session", "__Host-tenfold_session")


class NoPageError(Exception):
    """A part of the page is not installed here; the message names it."""


def check_sender(request: Request) -> None:
    """Refuse what pages of others ask for: it would be done in the name of who is logged in at the other master.

    Raises:
        RefusedError: 403, it came under another name than this machine's, or from a page of another origin.
    """
    host = request.header("host") or ""
    if not re.fullmatch(r"(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?", host):
        raise RefusedError(403, f"this server is not known as {host[:200]!r}: it is localhost")
    origin = request.header("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        raise RefusedError(403, "invalid origin")


class DevProxy:
    """Answers requests: files itself, the rest by another master.

    Args:
        reactor: connects.
        http: asks the other master.
        url: the other master's, as its ``buildbotURL``.
        plugins: views of the page of ``buildbot-www`` and their options; with none it is our own page that is shown.
        cookie: the value of the cookie of a session there; None: no login.
        verify: whether the other master's certificate is checked.

    Raises:
        NoPageError: a package of a view, or of the page, is not installed.
    """

    def __init__(
        self,
        reactor: IReactor,
        http: HttpClient,
        url: str,
        plugins: Mapping[str, Any],
        cookie: str | None = None,
        verify: bool = True,
    ) -> None:
        self._reactor, self._http, self._verify = reactor, http, verify
        self._url = url.rstrip("/")
        self._plugins = dict(plugins)
        self._cookies = [] if cookie is None else [f"{name}={cookie}" for name in _COOKIES]
        packages = installed()
        for name in ("base", *plugins) if plugins else ():
            if name not in packages:
                package = "buildbot-www" if name == "base" else f"a package with the view {name!r}"
                raise NoPageError(f"{package} is not installed here")
        self._base = PackageFiles(static_files(packages["base"])) if plugins else None
        self._views = {name: PackageFiles(static_files(packages[name])) for name in plugins}
        self._own = StaticFiles()

    async def handle(self, request: Request) -> Response:
        """The answer to a request."""
        segments = request.segments()
        try:
            check_sender(request)
            if segments == ("config",):
                config = jsonbody.compact(await self._config(request))
                return Response(200, (("Content-Type", "application/json"),), config)
            if segments[0] == "sse":
                raise RefusedError(501, "streams of events are not passed on; use the WebSocket")
            return await self._file(request, segments) or await self._passed_on(request)
        except HttpError as problem:
            return error_response(RefusedError(502, str(problem)))
        except RefusedError as refused:
            return error_response(refused)

    def client(self) -> _Tunnel:
        """The object that passes a WebSocket on."""
        return _Tunnel(self)

    async def _config(self, request: Request) -> dict[str, Any]:
        told = (await self._asked(request)).require().json()
        if not isinstance(told, dict):
            raise RefusedError(502, f"{self._url}/config is no configuration")
        here = f"http://{request.header('host') or 'localhost'}/"
        return {**told, "plugins": self._plugins, "buildbotURL": here}

    async def _file(self, request: Request, segments: tuple[str, ...]) -> Response | None:
        if request.method not in ("GET", "HEAD"):
            return None
        if self._base is None:
            return self._own.handle(request, segments)
        if segments in (("",), ("index.html",)):
            asked = Request("GET", "/config", headers=request.headers)
            content = index_page(self._base, await self._config(asked), {})
            return Response(200, (("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-cache")), content)
        if segments[0] == "plugins" and len(segments) > 2 and segments[1] in self._views:
            return self._views[segments[1]].handle(request, "/".join(segments[2:]))
        return self._base.handle(request, "/".join(segments).lstrip("/"))

    async def _passed_on(self, request: Request) -> Response:
        answer = await self._asked(request)
        sent = []
        for name in _ANSWERED:
            if name in answer.headers:
                value = answer.headers[name]
                sent.append((name, value.removeprefix(self._url) or "/" if name == "location" else value))
        return Response(answer.status, tuple(sent), answer.body)

    async def _asked(self, request: Request) -> Answer:
        query = f"?{request.query}" if request.query else ""
        return await self._http.request(
            request.method,
            f"{self._url}{request.path}{query}",
            headers=self.headers(request),
            data=request.body or None,
            verify=self._verify,
        )

    def headers(self, request: Request) -> dict[str, str]:
        """What is said to the other master: what was said here, but of the page that it thinks is its own."""
        sent = {name: value for name, value in request.headers.items() if name not in _OWN_HEADERS}
        parts = urlsplit(self._url)
        if "origin" in sent:
            sent["origin"] = f"{parts.scheme}://{parts.netloc}"
        if "referer" in sent:
            sent["referer"] = f"{self._url}/"
        cookies = [*self._cookies, *filter(None, [request.header("cookie")])]
        if cookies:
            sent["cookie"] = "; ".join(cookies)
        return sent

    async def connect(self) -> _Upstream:
        """A connection to the other master, for a WebSocket. RefusedError if there is none."""
        parts = urlsplit(self._url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, host, port)
        if parts.scheme == "https":
            options = optionsForClientTLS(host) if self._verify else CertificateOptions(verify=False)
            endpoint = wrapClientTLS(options, endpoint)
        try:
            connected = await endpoint.connect(Factory.forProtocol(_Upstream))
        except (ConnectError, DNSLookupError) as problem:
            raise RefusedError(502, f"{self._url}: no connection: {problem}") from None
        assert isinstance(connected, _Upstream)
        return connected

    def handshake(self, request: Request) -> bytes:
        """The handshake as it is sent to the other master."""
        parts = urlsplit(self._url)
        query = f"?{request.query}" if request.query else ""
        wanted = {"host": parts.netloc.rpartition("@")[2], "connection": "Upgrade", "upgrade": "websocket"}
        # extensions would be agreed on by those who cannot see each other's frames: they pass as they are
        headers = {**self.headers(request), **wanted}
        lines = [f"GET {parts.path}{request.path}{query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


class _Upstream(Protocol):
    """The other master's end of a WebSocket."""

    transport: IStream

    def __init__(self) -> None:
        self._head = b""
        #: fires with the head of its answer and what came behind
        self.answered: Deferred[tuple[bytes, bytes]] = Deferred(lambda _: self.transport.abortConnection())
        self.tunnel: _Tunnel | None = None

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the answer, then of frames."""
        if self.answered.called:
            if self.tunnel is not None:
                self.tunnel.transport.write(data)
            return
        self._head += data
        head, end, behind = self._head.partition(b"\r\n\r\n")
        if end:
            self.transport.pauseProducing()
            self.answered.callback((head, behind))
        elif len(self._head) > _MAX_HEAD:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone, and so is the WebSocket."""
        if not self.answered.called:
            self.answered.errback(RefusedError(502, "the other master closed the connection in the handshake"))
        elif self.tunnel is not None:
            self.tunnel.transport.loseConnection()


class _Tunnel(Protocol):
    """A WebSocket whose frames are passed on as they are, both ways; who reads slowly slows the other end."""

    transport: IStream

    def __init__(self, proxy: DevProxy) -> None:
        self._proxy = proxy
        self._upstream: _Upstream | None = None
        self._behind = b""

    async def handshake(self, request: Request) -> Response:
        """The other master's answer to the handshake."""
        try:
            check_sender(request)
            upstream = await self._proxy.connect()
            upstream.transport.write(self._proxy.handshake(request))
            head, self._behind = await upstream.answered
        except RefusedError as refused:
            return error_response(refused)
        first, *lines = head.decode("latin-1").split("\r\n")
        found = re.match(r"HTTP/1\.[01] (\d{3})", first)
        status = int(found[1]) if found else 502
        if status != 101:
            upstream.transport.abortConnection()
            refusal = status if status >= 400 else 502
            return error_response(RefusedError(refusal, "the other master refuses the WebSocket"))
        self._upstream = upstream
        pairs = [tuple(map(str.strip, line.split(":", 1))) for line in lines if ":" in line]
        kept = [(name, value) for name, value in pairs if name.lower() not in ("date", "server", "set-cookie")]
        return Response(101, tuple(kept))

    def connectionMade(self) -> None:
        """The client has the answer."""
        assert self._upstream is not None
        self._upstream.tunnel = self
        self.transport.registerProducer(self._upstream.transport, True)
        self._upstream.transport.registerProducer(self.transport, True)
        if self._behind:
            self.transport.write(self._behind)
        self._upstream.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """Bytes of frames."""
        assert self._upstream is not None
        self._upstream.transport.write(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The client is gone."""
        if self._upstream is not None:
            self._upstream.tunnel = None
            self._upstream.transport.abortConnection()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abortConnection()


__all__ = ["DevProxy", "NoPageError"]
