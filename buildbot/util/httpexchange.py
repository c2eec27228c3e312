"""One exchange of a request and its answer: treq on Twisted's agents, certificates, bodies.

`buildbot.util.httpclient` imports it for the first request, since it imports much.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from treq.client import HTTPClient as TreqClient
from twisted.internet import error as network
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IConsumer, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikeRedirectAgent, HTTPConnectionPool, RedirectAgent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

from buildbot.util.httpproxies import ProxiedAgent, Proxies, ProxyError

_REDIRECTS = 5
_IDLE_S = 60
_PER_HOST = 4

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Sink(Protocol):
    """Takes the body of an answer as it comes."""

    def begin(self, headers: Mapping[str, str], transport: Any) -> None:
        """The body begins.

        Args:
            headers: of the answer, as `Answer` has them.
            transport: has ``pauseProducing`` and ``resumeProducing``.
        """

    def received(self, data: bytes) -> None:
        """A part of it, unpacked."""


@dataclass(frozen=True)
class Tls:
    """How servers' certificates are checked, and the client's own. Requests with equal values share connections."""

    verify: bool
    ca_file: str | None
    cert_file: str | None
    key_file: str | None


class Agents:
    """The agents of one client, which keep connections for the next request.

    Args:
        reactor: Twisted's.
        agent: makes all requests, in tests.
    """

    def __init__(self, reactor: Any, agent: IAgent | None = None) -> None:
        self._reactor = reactor
        self._agent = agent
        self._agents: dict[tuple[Tls, Proxies | None, bool], tuple[IAgent, HTTPConnectionPool]] = {}

    def agent_for(self, tls: Tls, proxies: Proxies | None, keeps_connections: bool) -> IAgent:
        """The agent for requests of a kind. ValueError if a file of ``tls`` cannot be used."""
        if self._agent is not None:
            return self._agent
        key = (tls, proxies, keeps_connections)
        if key not in self._agents:
            policy = _Policy(tls)
            # A pool knows its connections only by server, so an unverified one must not be in the pool of verified
            # ones.
            pool = HTTPConnectionPool(self._reactor, persistent=keeps_connections)
            pool.cachedConnectionTimeout = _IDLE_S
            pool.maxPersistentPerHost = _PER_HOST
            agent: Any = Agent(self._reactor, policy, pool=pool)
            if proxies is not None:
                agent = ProxiedAgent(self._reactor, policy, pool, proxies)
            self._agents[key] = (agent, pool)
        return self._agents[key][0]

    async def close(self) -> None:
        """Close all connections."""
        for _, pool in list(self._agents.values()):
            await pool.closeCachedConnections()
        self._agents.clear()


def following(agent: IAgent, only_reads: bool, secret: Sequence[str]) -> IAgent:
    """An agent that follows redirects; another server gets none of the ``secret`` headers."""
    names = [*(each.encode() for each in secret), b"authorization", b"cookie"]
    follows = RedirectAgent if only_reads else BrowserLikeRedirectAgent
    found: IAgent = follows(agent, _REDIRECTS, sensitiveHeaderNames=names)
    return found


async def exchange(
    agent: IAgent,
    reactor: Any,
    method: str,
    url: str,
    *,
    params: list[tuple[str, str]],
    headers: Mapping[str, str],
    data: bytes | list[tuple[str, str]] | None,
    files: Mapping[str, Any] | None,
    auth: tuple[str, str] | None,
    max_bytes: int,
    too_large: Exception,
    sink: Sink | None,
) -> tuple[int, dict[str, str], bytes]:
    """Send a request; gives status, headers and body of the answer.

    Raises:
        Exception: ``too_large``, if the answer has more than ``max_bytes``; others, which `reason_of` puts in words.
    """
    # A client of treq keeps cookies, so each request has a client of its own; the connections are the agent's.
    response = await TreqClient(agent, data_to_body_producer=_Whole).request(
        method,
        url,
        params=params,
        headers=Headers({each: [text] for each, text in headers.items()}),
        data=data,
        files=files,
        auth=auth,
        allow_redirects=False,
        unbuffered=True,
        reactor=reactor,
    )
    raw = response.headers.getAllRawHeaders()
    given = {key.decode("latin-1").lower(): b", ".join(all_).decode("latin-1") for key, all_ in raw}
    return response.code, given, await _read(response, _Body(max_bytes, too_large, given, sink))


@implementer(IBodyProducer)
class _Whole:
    """A body in memory, which is written at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the body; Deferred."""
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing to do: the body is written at once."""

    def resumeProducing(self) -> None:
        """Nothing to do: the body is written at once."""

    def stopProducing(self) -> None:
        """Nothing to do: the body is written at once."""


class _Body(TwistedProtocol):
    """Collects a body up to a number of bytes, or hands it to a sink."""

    def __init__(self, max_bytes: int, too_large: Exception, headers: Mapping[str, str], sink: Sink | None) -> None:
        self.max_bytes = max_bytes
        self._left, self._too_large, self._headers, self._sink = max_bytes, too_large, headers, sink
        self._chunks: list[bytes] = []
        self.done: Deferred[bytes] = Deferred(lambda _: self.abort())

    def connectionMade(self) -> None:
        """It begins."""
        if self._sink is not None:
            self._sink.begin(self._headers, self.transport)

    def refuse(self) -> None:
        """It is too large: not a byte of it is read."""
        if self._sink is None:
            self._left = -1

    def abort(self) -> None:
        """Close the connection, without waiting for the rest."""
        abort: Callable[[], None] | None = getattr(self.transport, "abortConnection", None)
        if abort is None and self.transport is not None:
            abort = self.transport.loseConnection
        if abort is not None:
            abort()

    def dataReceived(self, data: bytes) -> None:
        """A part of it."""
        if self.done.called:
            return
        if self._sink is not None:
            self._sink.received(data)
            return
        self._left -= len(data)
        if self._left < 0:
            self._chunks.clear()
            self.done.errback(self._too_large)
            self.abort()
        else:
            self._chunks.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of the body. An answer without a length ends with the connection, so that is no error."""
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._chunks))
        else:
            self.done.errback(reason)


def _read(response: Any, body: _Body) -> Deferred[bytes]:
    is_large = response.length is not UNKNOWN_LENGTH and response.length > body.max_bytes
    if is_large and response.request.method != b"HEAD":
        body.refuse()
    response.deliverBody(body)
    return body.done


def reason_of(problem: BaseException, timeout_s: float) -> str:
    """The reason of a failure, in words without the URL."""
    inner = getattr(problem, "reasons", None)
    if inner:
        return reason_of(inner[0].value, timeout_s)
    match problem:
        case DeferredTimeoutError() | network.TimeoutError() | network.TCPTimedOutError() | CancelledError():
            return f"no complete answer within {timeout_s:g} s"
        case ProxyError():
            return str(problem)
        case network.ConnectionRefusedError():
            return "the connection is refused"
        case network.DNSLookupError():
            return "no address is known for this server"
        case VerificationError():
            return "the server's certificate is for another name"
        case SSL.Error():
            said = ", ".join(str(each[-1]) for each in problem.args[0]) if problem.args and problem.args[0] else ""
            return f"no TLS connection: {said or 'the server ended it'}"
        case network.ConnectError():
            return f"no connection: {type(problem).__name__}"
        case network.ConnectionClosed():
            return "the server closed the connection before its answer was complete"
    return f"no usable answer: {type(problem).__name__}"


@implementer(IPolicyForHTTPS)
class _Policy:
    """Checks certificates by a `Tls`. ValueError if a file cannot be used."""

    def __init__(self, tls: Tls) -> None:
        self._verify = tls.verify
        self._trust: Any = platformTrust()
        self._own: PrivateCertificate | None = None
        if tls.ca_file is not None:
            found = _PEM.findall(_content("ca_file", tls.ca_file))
            try:
                self._trust = trustRootFromCertificates([Certificate.loadPEM(each) for each in found])
            except crypto.Error:
                found = []
            if not found:
                raise ValueError(f"ca_file: {tls.ca_file} has no certificate (PEM) that can be read")
        if tls.cert_file is not None and tls.key_file is not None:
            certificate, key = _content("cert_file", tls.cert_file), _content("key_file", tls.key_file)
            try:
                pair = KeyPair.load(key, crypto.FILETYPE_PEM)
                self._own = PrivateCertificate.fromCertificateAndKeyPair(Certificate.loadPEM(certificate), pair)
            except (crypto.Error, SSL.Error, AssertionError, ValueError):
                raise ValueError(
                    f"cert_file: {tls.cert_file} and {tls.key_file} are no certificate and its key (PEM)"
                ) from None

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """The creator of the connection to a server."""
        name = hostname.decode("ascii")
        if self._verify:
            return optionsForClientTLS(name, self._trust, self._own)
        own: dict[str, Any] = {}
        if self._own is not None:
            own = {"privateKey": self._own.privateKey.original, "certificate": self._own.original}
        return _Unverified(name, CertificateOptions(verify=False, **own).getContext())


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Connections that accept any certificate, and send the name of the server (SNI)."""

    def __init__(self, hostname: str, context: SSL.Context) -> None:
        self._hostname = hostname
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """As `IOpenSSLClientConnectionCreator` says."""
        connection = SSL.Connection(self._context, None)
        if not re.fullmatch(r"[0-9.]+|.*:.*", self._hostname):
            connection.set_tlsext_host_name(self._hostname.encode("ascii"))
        return connection


def _content(argument: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as problem:
        raise ValueError(f"{argument}: {path} cannot be read: {problem.strerror}") from None
