"""Requests to other servers: the HTTP client of all parts of a master.

treq makes the requests (`httpexchange`). This module adds limits: answers have a maximum size, an exchange has one
timeout from the first byte to the last, errors name neither query nor passwords, no cookie is kept, and a redirect to
another server gets no headers.
"""

from __future__ import annotations

import io
import json as stdlib_json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode, urlsplit

from twisted.internet.defer import Deferred, ensureDeferred

from buildbot.util.urls import public_url

if TYPE_CHECKING:
    from twisted.web.iweb import IAgent

    from buildbot.util.httpexchange import Agents, Sink
    from buildbot.util.httpproxies import Proxies

#: seconds of an exchange, from the first byte sent to the last one received
TIMEOUT_S = 30.0
#: the most bytes of an answer, unpacked
MAX_BYTES = 10 * 1024 * 1024
#: the methods that Twisted sends again, if they have no body and a kept connection ends without an answer
_REPEATABLE = ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE")

_METHOD = re.compile(r"[A-Za-z][A-Za-z-]*")

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
        self._agents: Agents | None = None
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
        # not at the top: it imports Twisted's and treq's clients, 40 modules, and most masters ask no other server
        from buildbot.util import httpexchange

        if self._agents is None:
            self._agents = httpexchange.Agents(self._reactor, self._agent)
        tls = httpexchange.Tls(verify, ca_file, cert_file, key_file if key_file is not None else cert_file)
        is_repeatable = method.upper() in _REPEATABLE and content is None and parts is None
        agent = self._agents.agent_for(tls, proxies, keeps_connections=is_repeatable)
        only_reads = method.upper() in ("GET", "HEAD")
        if follow_redirects if only_reads else follow_any:
            agent = httpexchange.following(agent, only_reads, secret=list(sent))
        too_large = TooLargeError(f"{where}: the answer has more than {max_bytes} bytes")

        async def exchange() -> Answer:
            status, given, body = await httpexchange.exchange(
                agent,
                self._reactor,
                method,
                target,
                params=_pairs(params),
                headers=sent,
                data=fields if parts else content,
                files=parts,
                auth=auth or login,
                max_bytes=max_bytes,
                too_large=too_large,
                sink=sink,
            )
            return Answer(status, given, body, where)

        asking = ensureDeferred(exchange())
        self._running.add(asking)
        asking.addTimeout(timeout_s, self._reactor)
        try:
            return await asking
        except HttpError:
            raise
        except Exception as problem:
            # Twisted's text may have the whole URL, so neither the text nor the exception goes on.
            reason = "the master stops" if self._closed else httpexchange.reason_of(problem, timeout_s)
        finally:
            self._running.discard(asking)
        raise NoAnswerError(f"{where}: {reason}") from None

    async def close(self) -> None:
        """End running requests with NoAnswerError, and close all connections; later requests fail."""
        self._closed = True
        for asking in list(self._running):
            asking.cancel()
        if self._agents is not None:
            await self._agents.close()


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
