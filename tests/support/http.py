"""Small HTTP servers of tests."""

from __future__ import annotations

from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """A handler of requests that prints no log."""

    def log_message(self, format: str, *args: Any) -> None:
        """Not printed."""

    def reply(self, body: bytes, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
