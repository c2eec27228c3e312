"""A request for handlers of users and plugins, with the names of Twisted's requests."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import parse_qsl

from buildbot.www.http.messages import Request


class WebRequest:
    """A request with Twisted's names.

    Attributes:
        request: the request of this server.
        method, uri, path: bytes.
        content: the body, a file.
        args: the fields of the query and of a form, ``{name: [values]}``, bytes.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.method = request.method.encode()
        self.path = request.path.encode()
        self.uri = self.path + (b"?" + request.query.encode() if request.query else b"")
        self.content = io.BytesIO(request.body)
        self.args: dict[bytes, list[bytes]] = {}
        pairs = parse_qsl(request.query.encode(), keep_blank_values=True, max_num_fields=1000)
        if (request.header("content-type") or "").startswith("application/x-www-form-urlencoded"):
            pairs += parse_qsl(request.body, keep_blank_values=True, max_num_fields=1000)
        for name, value in pairs:
            self.args.setdefault(name, []).append(value)

    def header(self, name: str) -> str | None:
        """A header by its name in lower case."""
        return self.request.header(name)

    def getHeader(self, key: str | bytes) -> Any:
        """A header; text for text, bytes for bytes, None if there is none."""
        name = key.decode() if isinstance(key, bytes) else key
        value = self.request.header(name.lower())
        return value.encode() if isinstance(key, bytes) and value is not None else value

    def getAllHeaders(self) -> dict[bytes, bytes]:
        """All headers by their names in lower case."""
        return {name.encode(): value.encode() for name, value in self.request.headers.items()}

    def getClientIP(self) -> str:
        """The address of the client."""
        return self.request.client
