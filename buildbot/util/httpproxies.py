"""Requests that go by a proxy: ``http://`` ones are sent to it whole, for ``https://`` it opens a tunnel (CONNECT)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

_PORTS = {"http": 80, "https": 443}
#: bytes of a proxy's answer to CONNECT that are read
_MAX_ANSWER = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_FAULTY = "must be http://server:port or https://server:port of a proxy"


class ProxyError(Exception):
    """A proxy does not open a tunnel; the text says why."""


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: ``http`` or ``https``: how it is talked to itself.
        login: the value of ``Proxy-Authorization``; None without one.
    """

    scheme: str
    host: str
    port: int
    login: bytes | None = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Proxy:
        """The proxy at a URL, which may hold user and password. ValueError, without these, if it is none."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(_FAULTY) from None
        if parts.scheme not in _PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(_FAULTY)
        login = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            login = b"Basic " + base64.b64encode(pair)
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], login)


@dataclass(frozen=True)
class Proxies:
    """Which requests go by which proxy.

    Attributes:
        by_key: the proxies by ``http``, ``https`` or ``all``, each perhaps followed by ``://`` and a server's name.
        direct: names of servers that are asked without a proxy, those below them included.
    """

    by_key: tuple[tuple[str, Proxy], ...]
    direct: tuple[str, ...]

    @classmethod
    def of(cls, given: Mapping[str, str | None]) -> Proxies:
        """Proxies as the library ``requests`` takes them. ValueError, which names the key, if they are none.

        Args:
            given: URLs of proxies (None: no proxy) by ``http``, ``https``, ``all``, ``https://server``…; and by
                ``no_proxy`` names of servers, joined by commas.
        """
        found: list[tuple[str, Proxy]] = []
        direct: tuple[str, ...] = ()
        for key, url in given.items():
            if not isinstance(key, str) or (url is not None and not isinstance(url, str)):
                raise ValueError("must have texts as keys and as values")
            if key == "no_proxy":
                names = (each.strip().lstrip(".").lower() for each in (url or "").split(","))
                direct = tuple(name for name in names if name)
            elif not re.fullmatch(r"(http|https|all)(://[^/\s]+)?", key):
                known = "'http', 'https', 'all', 'https://server' and 'no_proxy'"
                raise ValueError(f"has the key {key!r}; there are {known}")
            elif url:
                try:
                    found.append((key.lower(), Proxy.of(url)))
                except ValueError as problem:
                    raise ValueError(f"[{key!r}] {problem}") from None
        return cls(tuple(found), direct)

    def proxy_for(self, scheme: str, host: str) -> Proxy | None:
        """The proxy for requests to a server; None: they go there directly."""
        host = host.lower()
        if any(host == name or host.endswith(f".{name}") or name == "*" for name in self.direct):
            return None
        known = dict(self.by_key)
        keys = (f"{scheme}://{host}", scheme, f"all://{host}", "all")
        return next((known[key] for key in keys if key in known), None)


@implementer(IAgent)
class ProxiedAgent:
    """Makes requests by proxies, or directly where there is none for a server.

    Args:
        reactor: Twisted's.
        policy: checks certificates of servers, and of proxies that are talked to by TLS.
        pool: keeps connections; of its own, since a pool knows connections by server only.
        proxies: which proxy is for which server.
    """

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS, pool: HTTPConnectionPool, proxies: Proxies) -> None:
        self._reactor, self._policy, self._pool, self._proxies = reactor, policy, pool, proxies
        self._direct = Agent(reactor, policy, pool=pool)
        self._endpoints: dict[Proxy, Any] = {}

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """As `IAgent` says."""
        target = URI.fromBytes(uri)
        proxy = self._proxies.proxy_for(target.scheme.decode("ascii"), target.host.decode("ascii"))
        agent: Any = self._direct
        if proxy is not None and target.scheme == b"https":
            tunnels = _Tunnels(self._policy, self._endpoint(proxy), proxy)
            agent = Agent.usingEndpointFactory(self._reactor, tunnels, pool=self._pool)
        elif proxy is not None:
            agent = ProxyAgent(self._endpoint(proxy), self._reactor, self._pool)
            if proxy.login is not None:
                headers = Headers() if headers is None else headers.copy()
                headers.setRawHeaders(b"Proxy-Authorization", [proxy.login])
        answer: Deferred[IResponse] = agent.request(method, uri, headers, bodyProducer)
        return answer

    def _endpoint(self, proxy: Proxy) -> Any:
        """What connects to a proxy; the same for all requests, since connections are kept by it."""
        if proxy not in self._endpoints:
            endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, proxy.host, proxy.port)
            if proxy.scheme == "https":
                creator = self._policy.creatorForNetloc(proxy.host.encode("ascii"), proxy.port)
                endpoint = wrapClientTLS(creator, endpoint)
            self._endpoints[proxy] = endpoint
        return self._endpoints[proxy]


@implementer(IAgentEndpointFactory)
class _Tunnels:
    """Connections to servers, each by TLS through a tunnel that a proxy opens."""

    def __init__(self, policy: IPolicyForHTTPS, endpoint: Any, proxy: Proxy) -> None:
        self._policy, self._endpoint, self._proxy = policy, endpoint, proxy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """As `IAgentEndpointFactory` says."""
        creator = self._policy.creatorForNetloc(uri.host, uri.port)
        target = b"%s:%d" % (b"[%s]" % uri.host if b":" in uri.host else uri.host, uri.port)
        return wrapClientTLS(creator, _Tunnel(self._endpoint, target, self._proxy.login))


@implementer(IStreamClientEndpoint)
class _Tunnel:
    """Connects to a server by way of a proxy."""

    def __init__(self, endpoint: Any, target: bytes, login: bytes | None) -> None:
        self._endpoint, self._target, self._login = endpoint, target, login

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """As `IStreamClientEndpoint` says. ProxyError if the proxy opens no tunnel."""
        return ensureDeferred(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        asking = _Asking(self._target, self._login, factory)
        await self._endpoint.connect(Factory.forProtocol(lambda: asking))
        return await asking.opened


class _Asking(Protocol):
    """Asks a proxy for a tunnel; what comes through it is handed on.

    Attributes:
        opened: fires with the protocol at our end of the tunnel.
    """

    def __init__(self, target: bytes, login: bytes | None, factory: IProtocolFactory) -> None:
        self.opened: Deferred[Any] = Deferred(lambda _: self._abort())
        self._target, self._login, self._factory = target, login, factory
        self._answer = b""
        self._inner: Any = None

    def connectionMade(self) -> None:
        """Ask."""
        lines = [b"CONNECT %s HTTP/1.1" % self._target, b"Host: " + self._target]
        if self._login is not None:
            lines.append(b"Proxy-Authorization: " + self._login)
        self.transport.write(b"\r\n".join([*lines, b"", b""]))  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """A part of the answer, or what comes through the tunnel."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if not end:
            if len(self._answer) > _MAX_ANSWER:
                self._fail("the proxy's answer is no HTTP")
            return
        status = _STATUS.match(head)
        if status is None:
            self._fail("the proxy's answer is no HTTP")
        elif not status[1].startswith(b"2"):
            self._fail(f"the proxy answers {int(status[1])}")
        elif not self.opened.called:
            self._open(rest)

    def _open(self, rest: bytes) -> None:
        transport: Any = self.transport
        self._inner = self._factory.buildProtocol(transport.getPeer())
        self._inner.makeConnection(transport)
        self.opened.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def _fail(self, why: str) -> None:
        if not self.opened.called:
            self.opened.errback(ProxyError(why))
        self._abort()

    def _abort(self) -> None:
        transport: Any = self.transport
        getattr(transport, "abortConnection", transport.loseConnection)()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection has ended."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.opened.called:
            self.opened.errback(ProxyError("the proxy closed the connection"))
