"""Bytes to the server and back, whatever they mean."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass


@dataclass
class Answer:
    """What came back.

    Attributes:
        status: 0 if the connection was closed without an answer.
        head: status line and header fields.
        body: what there is of it.
    """

    status: int
    head: bytes
    body: bytes


def exchange(port: int, sent: bytes, wait_s: float = 10.0, whole: bool = True) -> Answer:
    """Send something and read one answer; ``whole`` False: its head and what came with that."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as client:
        with suppress(OSError):  # refused while it was being sent; what the server said stands to be read
            client.sendall(sent)
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                if not (piece := client.recv(65536)):
                    return Answer(0, data, b"")
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            while whole and (piece := client.recv(65536)):
                body += piece
        except ConnectionResetError:
            return Answer(0, data, b"")
    return Answer(int(head.split()[1]), head, body)


def request(method: str, target: bytes, headers: dict[str, bytes] | None = None, body: bytes = b"") -> bytes:
    """A request after whose answer the server closes the connection."""
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close"]
    lines += [name.encode() + b": " + value for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])
