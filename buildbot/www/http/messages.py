"""Requests and responses as values: handlers see neither a socket nor the library that reads HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote

#: the addresses of proxies on this machine; a Unix socket has no address
_THIS_MACHINE = frozenset({"", "::1", "::ffff:127.0.0.1"})
#: more parameters than this in one query string are refused
MAX_PARAMETERS = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: upper case, as sent.
        path: percent-encoded, starts with ``/``, without the query.
        query: the part after the first ``?``, or ``""``.
        headers: lower-case name to value; several headers of one name are joined by ``", "``.
        body: the whole body, at most ``incoming.MAX_BODY_BYTES``.
        peer: the address that it came from; empty if there is none.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    peer: str = ""

    @property
    def client(self) -> str:
        """The client's address, for limits.

        Behind a proxy on this machine it is the address that the proxy names. A header of another client does not
        count.
        """
        said = self.headers.get("x-forwarded-for")
        if said is None or not (self.peer in _THIS_MACHINE or self.peer.startswith("127.")):
            return self.peer
        return said.rpartition(",")[2].strip()[:100] or self.peer

    def header(self, name: str) -> str | None:
        """The value of the header with this lower-case name, or None."""
        return self.headers.get(name)

    def parameters(self) -> list[tuple[str, str]]:
        """The query's (name, value) pairs in the order written; ValueError if there are too many."""
        return parse_qsl(self.query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)

    def segments(self) -> tuple[str, ...]:
        """The decoded path segments after the first slash; ``/`` gives ``("",)``."""
        segments = self.path[1:].split("/")
        return tuple(map(unquote, segments) if "%" in self.path else segments)


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response; a body that is an async generator is sent as it is made, at the client's pace."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | AsyncGenerator[bytes, None] = b""

    def header(self, name: str) -> str | None:
        """The value of the first header with this name (any case), or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @classmethod
    def text(cls, status: int, text: str | bytes) -> Response:
        """A response of plain text, which browsers must not take for another type."""
        headers = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
        return cls(status, headers, text if isinstance(text, bytes) else text.encode("utf-8", "replace"))

    @classmethod
    def redirect(cls, url: str, *headers: tuple[str, str]) -> Response:
        """A redirect to a URL; characters that a header must not hold are removed from it."""
        location = "".join(each if " " < each < "\x7f" else "%20" if each == " " else "" for each in url)
        return cls(302, (("Location", location), *headers))

    def with_headers(self, *headers: tuple[str, str]) -> Response:
        """The same response with these headers added."""
        return replace(self, headers=self.headers + headers) if headers else self
