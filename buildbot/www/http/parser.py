"""Bytes of a connection into requests.

llhttp (by httptools) parses the bytes, strictly: it refuses requests that two servers might read differently (with
length and chunks, bare newlines, blanks around names). The memory that clients can take is bounded here: the target,
the head, the body, the bodies of all clients together.
"""

from __future__ import annotations

import re
from collections import deque
from urllib.parse import unquote_to_bytes

import httptools
from twisted.logger import Logger

from buildbot.www.http.messages import Request

_log = Logger()

#: a longer body is refused
MAX_BODY_BYTES = 10 * 1024 * 1024
#: bytes of bodies that are arriving, all connections together; beyond it the server is busy
MAX_BODIES_BYTES = 64 * 1024 * 1024
#: a longer request target, more header fields, a longer head are refused
MAX_TARGET_BYTES = 16 * 1024
MAX_HEADERS = 100
MAX_HEAD_BYTES = 64 * 1024

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"https?://[^/?]*", re.IGNORECASE)


class Bodies:
    """The arriving bodies of all connections."""

    def __init__(self) -> None:
        self.bytes = 0


class Incoming:
    """A request while it arrives."""

    def __init__(self, bodies: Bodies, peer: str = "") -> None:
        self._bodies = bodies
        self._peer = peer
        self._body: list[bytes] = []
        self.method = ""
        self.target = b""
        self.version = "1.1"
        self.headers: dict[str, str] = {}
        #: of the body
        self.size = 0
        #: of all
        self.received = 0
        self.keep_alive = True
        #: whether the client waits for 100-continue
        self.expects = False

    def add(self, part: bytes) -> None:
        """A part of the body."""
        self.size += len(part)
        self._bodies.bytes += len(part)
        self._body.append(part)

    def take_body(self) -> bytes:
        """The body; it no longer counts as arriving."""
        self._bodies.bytes -= self.size
        body, self._body, self.size = b"".join(self._body), [], 0
        return body

    def request(self) -> Request:
        """The request for the handlers."""
        target = self.target if self.target.startswith(b"/") else _ABSOLUTE.sub(b"", self.target, count=1)
        path, _, query = target.partition(b"?")
        return Request(
            self.method,
            path.decode("latin-1") or "/",
            query.decode("latin-1"),
            self.headers,
            self.take_body(),
            self._peer,
        )

    def problem(self) -> tuple[int, str] | None:
        """Why its target is refused: malformed escapes, or bytes that are not UTF-8; None if it is not."""
        if b"%" in self.target:
            if _BAD_ESCAPE.search(self.target):
                return 400, "the request's target has a bad percent-encoding"
            try:
                unquote_to_bytes(self.target.replace(b"+", b" ")).decode()
            except UnicodeDecodeError:
                return 400, "the request's target is not UTF-8"
        return None


class Reader:
    """Reads the requests of one connection, which come from one ``peer``.

    Attributes:
        waiting: the complete requests, in the order in which they came.
        incoming: the request that is arriving; None if there is none.
        in_head: whether its head is not complete yet.
        refusal: status and reason, once a request is refused; nothing is read after that.
    """

    def __init__(self, bodies: Bodies, peer: str = "") -> None:
        self._bodies = bodies
        self._peer = peer
        self._parser = httptools.HttpRequestParser(self)
        self._headers_seen = 0
        self.waiting: deque[Incoming] = deque()
        self.incoming: Incoming | None = None
        self.in_head = False
        self.refusal: tuple[int, str] | None = None

    def feed(self, data: bytes) -> bytes:
        """Parse bytes; gives the bytes after a request for another protocol."""
        continued, rest = self.incoming, b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self.waiting:
                # The only other protocol of this server is WebSocket.
                self.waiting[-1].keep_alive = False
        except httptools.HttpParserCallbackError:
            _log.failure("reading a request failed")
            self._refuse(500, "internal error - see logs")
        except httptools.HttpParserInvalidMethodError:
            self._refuse(400, "invalid HTTP method")
        except httptools.HttpParserError:
            self._refuse(400, "this is not HTTP/1.1")
        if continued is not None and continued is self.incoming:
            continued.received += len(data)
            # All bytes but the body's, which may have a byte in a chunk: the head, and the fields after the last chunk.
            if continued.received - 8 * continued.size > MAX_HEAD_BYTES:
                self._refuse(431, "the request's header fields are too long")
        return rest

    def release(self) -> None:
        """Forget the bodies, which no handler will ask for."""
        for incoming in (*self.waiting, *([self.incoming] if self.incoming is not None else [])):
            incoming.take_body()

    def _refuse(self, status: int, why: str) -> None:
        if self.refusal is None:
            self.refusal = (status, why)

    # -- what the parser says -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self.incoming = Incoming(self._bodies, self._peer)
        self.in_head = True
        self._headers_seen = 0

    def on_url(self, target: bytes) -> None:
        """The target, or a part of it."""
        incoming = self.incoming
        assert incoming is not None
        incoming.target += target
        if len(incoming.target) > MAX_TARGET_BYTES:
            self._refuse(414, "the request's target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field; fields after a body in chunks are ignored."""
        if not self.in_head:
            return
        incoming = self.incoming
        assert incoming is not None
        self._headers_seen += 1
        if self._headers_seen > MAX_HEADERS:
            self._refuse(431, "the request has too many header fields")
            return
        key = name.decode("latin-1").lower()
        text = value.decode("utf-8", "replace")
        headers = incoming.headers
        if key in headers:
            if key == "host":
                self._refuse(400, "the request has several Host fields")
            text = f"{headers[key]}, {text}"
        headers[key] = text

    def on_headers_complete(self) -> None:
        """The head is here."""
        self.in_head = False
        incoming = self.incoming
        assert incoming is not None
        parser, headers = self._parser, incoming.headers
        incoming.method = parser.get_method().decode("latin-1")
        incoming.version = parser.get_http_version()
        incoming.keep_alive = parser.should_keep_alive()
        if incoming.version not in ("1.1", "1.0"):
            self._refuse(505, "this is a server for HTTP/1.1")
        elif incoming.version == "1.1" and "host" not in headers:
            self._refuse(400, "the request has no Host field")
        elif incoming.version == "1.0" and "transfer-encoding" in headers:
            self._refuse(400, "HTTP/1.0 has no Transfer-Encoding")
        elif int(headers.get("content-length") or 0) > MAX_BODY_BYTES:
            self._refuse(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        elif "expect" in headers and incoming.version == "1.1":
            if headers["expect"].lower() != "100-continue":
                self._refuse(417, "the only expectation that can be met is 100-continue")
            incoming.expects = True

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        incoming = self.incoming
        assert incoming is not None
        if self.refusal is not None:
            return
        incoming.add(part)
        if incoming.size > MAX_BODY_BYTES:
            self._refuse(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        elif self._bodies.bytes > MAX_BODIES_BYTES:
            self._refuse(503, "too much is being sent to this server; try again")

    def on_message_complete(self) -> None:
        """All of the request is here."""
        incoming, self.incoming = self.incoming, None
        assert incoming is not None
        if self.refusal is None:
            self.waiting.append(incoming)
        else:
            incoming.take_body()
