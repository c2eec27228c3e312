"""Requests to other servers: the HTTP client of all parts of a master.

treq makes the requests. This module adds limits: answers have a maximum size, an exchange has one timeout from the
first byte to the last, errors name neither query nor passwords, no cookie is kept, and a redirect to another server
gets no headers.
"""

from __future__ import annotations

import io
import json as stdlib_json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol, TypeAlias
from urllib.parse import urlencode, urlsplit

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from treq.client import HTTPClient as TreqClient
from twisted.internet import error as network
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
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
from buildbot.util.urls import public_url

#: seconds of an exchange, from the first byte sent to the last one received
TIMEOUT_S = 30.0
#: the most bytes of an answer, unpacked
MAX_BYTES = 10 * 1024 * 1024
_REDIRECTS = 5
_IDLE_S = 60
_PER_HOST = 4
#: the methods that Twisted sends again, if they have no body and a kept connection ends without an answer
_REPEATABLE = ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE")

_METHOD = re.compile(r"[A-Za-z][A-Za-z-]*")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

Params: TypeAlias = Mapping[str, object] | Sequence[tuple[str, object]]
#: a file of a form: its content, its name and content, or an open file
FileValue: TypeAlias = bytes | IO[bytes] | tuple[str, bytes | IO[bytes]]


class HttpError(Exception):
    """A request failed. The message says which and how: with server and path, without query and password."""


class NoAnswerError(HttpError):
    """There is no answer, or only a part of one: no connection, wrong certificate, too late, cut off."""


class TooLargeError(HttpError):
    """The answer has more bytes than ``max_bytes``; the connection was closed."""


class UnexpectedAnswerError(HttpError):
    """The status or the body of an answer is not the expected one.

    Attributes:
        status: of the answer.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """The answer of a server.

    Attributes:
        status: 200, 404 and so on.
        headers: by names in lower case; several of one name are joined by ``", "``.
        body: the bytes, unpacked.
        where: the name of the request in errors.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    where: str

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body's JSON; UnexpectedAnswerError if it is none."""
        try:
            return stdlib_json.loads(self.body)
        except (ValueError, RecursionError):
            raise UnexpectedAnswerError(f"{self.where} answers without JSON", self.status) from None

    def require(self, *statuses: int) -> Answer:
        """The answer itself, if its status is one of these (default: any 2xx); UnexpectedAnswerError otherwise."""
        if self.status in statuses or (not statuses and self.ok):
            return self
        raise UnexpectedAnswerError(f"{self.where} answers {self.status}", self.status)


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
class _Tls:
    """How servers' certificates are checked, and the client's own. Requests with equal values share connections."""

    verify: bool
    ca_file: str | None
    cert_file: str | None
    key_file: str | None


class HttpClient:
    """A client that keeps connections for the next request, until it is closed.

    A POST, PUT or PATCH, and any request with a body, gets a connection of its own: a server may close a kept
    connection at any time, one of HTTP/1.0 always does, and such a request must not be sent again.

    Args:
        reactor: Twisted's.
        agent: makes the requests in tests: ``treq.testing.RequestTraversalAgent(resource)``.
    """

    def __init__(self, reactor: Any, agent: IAgent | None = None) -> None:
        self._reactor = reactor
        self._agent = agent
        self._agents: dict[tuple[_Tls, Proxies | None, bool], tuple[IAgent, HTTPConnectionPool]] = {}
        self._running: set[Deferred[Answer]] = set()
        self._closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        json: object = ...,
        data: bytes | str | Params | None = None,
        files: Mapping[str, FileValue] | None = None,
        auth: tuple[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
        verify: bool = True,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        follow_redirects: bool = False,
        follow_any: bool = False,
        proxies: Proxies | None = None,
        sink: Sink | None = None,
        name: str | None = None,
    ) -> Answer:
        """Send a request; gives the answer, with any status.

        Args:
            method: ``GET``, ``POST`` and so on.
            url: ``http://…`` or ``https://…``. A user and password in it are sent as Basic authentication.
            params: added to the URL's query; lists give a name several times.
            headers: of the request; a ``Content-Type`` here is the body's.
            cookies: by name; another server gets none of them.
            json: the body as JSON; ``None`` is JSON's null.
            data: the body, or the fields of a form.
            files: files of a form (``multipart/form-data``), with ``data`` as its other fields.
            auth: user and password for Basic authentication.
            timeout_s: for the whole exchange, in seconds.
            max_bytes: of the unpacked answer; with a sink it has no limit.
            verify: False takes any certificate.
            ca_file: certificates (PEM) to trust instead of the system's.
            cert_file, key_file: the client's certificate and its key (PEM); one file may hold both.
            follow_redirects: whether GET and HEAD go on to where a 3xx points, five times at most. Another server gets
                none of ``headers`` and no ``auth``. Other methods give the 3xx.
            follow_any: whether the other methods go on too, as GET without a body; from 307 that is an error.
            proxies: which servers are asked by proxies; None: none.
            sink: gets the body; the answer has none then.
            name: what errors call the request, for a URL whose path is a secret; default: method, server and path.

        Raises:
            ValueError: an argument is wrong; nothing was sent.
            NoAnswerError: no answer, or a part of one. The server may have obeyed the request.
            TooLargeError: the answer is larger than ``max_bytes``.
        """
        target, login = _checked(method, url, timeout_s, max_bytes)
        where = name or f"{method.upper()} {public_url(target)}"
        sent = {"User-Agent": "Buildbot", **(headers or {})}
        if cookies:
            sent["Cookie"] = "; ".join(f"{each}={value}" for each, value in cookies.items())
        content, fields, parts = _body(json, data, files, sent)
        if self._closed:
            raise NoAnswerError(f"{where}: the master stops")
        tls = _Tls(verify, ca_file, cert_file, key_file if key_file is not None else cert_file)
        is_repeatable = method.upper() in _REPEATABLE and content is None and parts is None
        agent = self._agent_for(tls, proxies, keeps_connections=is_repeatable)
        only_reads = method.upper() in ("GET", "HEAD")
        if follow_redirects if only_reads else follow_any:
            secret = [each.encode() for each in sent]
            follows = RedirectAgent if only_reads else BrowserLikeRedirectAgent
            agent = follows(agent, _REDIRECTS, sensitiveHeaderNames=[*secret, b"authorization", b"cookie"])

        async def exchange() -> Answer:
            # A client of treq keeps cookies, so each request has a client of its own; the connections are the agent's.
            response = await TreqClient(agent, data_to_body_producer=_Whole).request(
                method,
                target,
                params=_pairs(params),
                headers=Headers({each: [text] for each, text in sent.items()}),
                data=fields if parts else content,
                files=parts,
                auth=auth or login,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            raw = response.headers.getAllRawHeaders()
            given = {key.decode("latin-1").lower(): b", ".join(all_).decode("latin-1") for key, all_ in raw}
            body = await _read(response, _Body(max_bytes, where, given, sink))
            return Answer(response.code, given, body, where)

        asking = ensureDeferred(exchange())
        self._running.add(asking)
        asking.addTimeout(timeout_s, self._reactor)
        try:
            return await asking
        except HttpError:
            raise
        except Exception as problem:
            # Twisted's text may have the whole URL, so neither the text nor the exception goes on.
            reason = "the master stops" if self._closed else _reason(problem, timeout_s)
        finally:
            self._running.discard(asking)
        raise NoAnswerError(f"{where}: {reason}") from None

    async def close(self) -> None:
        """End running requests with NoAnswerError, and close all connections; later requests fail."""
        self._closed = True
        for asking in list(self._running):
            asking.cancel()
        for _, pool in list(self._agents.values()):
            await pool.closeCachedConnections()
        self._agents.clear()

    def _agent_for(self, tls: _Tls, proxies: Proxies | None, keeps_connections: bool) -> IAgent:
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


def _checked(method: str, url: str, timeout_s: float, max_bytes: int) -> tuple[str, tuple[str, str] | None]:
    """The URL without user and password, and these; ValueError for wrong arguments, whose text has no password."""
    if not isinstance(method, str) or not _METHOD.fullmatch(method):
        raise ValueError(f"method: {method!r} is no HTTP method")
    if not isinstance(url, str):
        raise ValueError(f"url: a string, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("url: its server or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(f"url: {public_url(url)!r} is no http:// or https:// URL with a server")
    for argument, number in (("timeout_s", timeout_s), ("max_bytes", max_bytes)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
            raise ValueError(f"{argument}: {number!r} is no number above 0")
    if parts.username is None:
        return url, None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), (parts.username, parts.password or "")


def _pairs(params: Params | None) -> list[tuple[str, str]]:
    """Names and values of a query or form, a pair for each value of a list; None is left out."""
    given = params.items() if isinstance(params, Mapping) else params or ()
    flat: list[tuple[str, str]] = []
    for key, value in given:
        for each in value if isinstance(value, list | tuple) else (value,):
            if each is not None:
                flat.append((key, ("false", "true")[each] if isinstance(each, bool) else str(each)))
    return flat


def _body(
    json: object, data: bytes | str | Params | None, files: Mapping[str, FileValue] | None, headers: dict[str, str]
) -> tuple[bytes | None, list[tuple[str, str]], dict[str, Any] | None]:
    """The body, or the fields and files of a form; adds its Content-Type to ``headers`` if there is none."""
    if json is not ...:
        if data is not None or files is not None:
            raise ValueError("json: excludes data and files")
        try:
            content = stdlib_json.dumps(json, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError) as problem:
            raise ValueError(f"json: {problem}") from None
        _default_type(headers, "application/json")
        return content, [], None
    if isinstance(data, bytes | str):
        if files is not None:
            raise ValueError("data: with files it must be fields, not bytes or text")
        return data.encode() if isinstance(data, str) else data, [], None
    fields = _pairs(data)
    if files is not None:
        parts = {}
        for field, value in files.items():
            filename, content_or_file = value if isinstance(value, tuple) else (getattr(value, "name", field), value)
            content = content_or_file if isinstance(content_or_file, bytes) else content_or_file.read()
            parts[field] = (str(filename).rpartition("/")[2], io.BytesIO(content))
        return None, fields, parts
    if data is None:
        return None, [], None
    _default_type(headers, "application/x-www-form-urlencoded")
    return urlencode(fields).encode(), [], None


def _default_type(headers: dict[str, str], content_type: str) -> None:
    if not any(each.lower() == "content-type" for each in headers):
        headers["Content-Type"] = content_type


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

    def __init__(self, max_bytes: int, where: str, headers: Mapping[str, str], sink: Sink | None) -> None:
        self.max_bytes = max_bytes
        self._left, self._headers, self._sink = max_bytes, headers, sink
        self._error = TooLargeError(f"{where}: the answer has more than {max_bytes} bytes")
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
            self.done.errback(self._error)
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


def _reason(problem: BaseException, timeout_s: float) -> str:
    """The reason of a failure, in words without the URL."""
    inner = getattr(problem, "reasons", None)
    if inner:
        return _reason(inner[0].value, timeout_s)
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
    """Checks certificates by a `_Tls`. ValueError if a file cannot be used."""

    def __init__(self, tls: _Tls) -> None:
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
