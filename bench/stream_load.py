"""Clients of WebSocket servers: they subscribe, then one loop takes what comes for all of them."""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

#: nothing may take longer
LIMIT_S = 120.0
_READ_BYTES = 1 << 18
_MASK = b"\0\0\0\0"


class Client:
    """One connection, on which a path is followed.

    Args:
        since: a clock to begin at.
        sleeps: it will never be read again, and its socket takes little.
    """

    def __init__(self, port: int, path: str, since: int | None = None, sleeps: bool = False) -> None:
        self.socket = socket.socket()
        if sleeps:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._data = b""
        while b"\r\n\r\n" not in self._data:
            self._receive()
        head, self._data = self._data.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise ConnectionError(head.decode())
        begin = {"cmd": "startConsuming", "path": path, "_id": 1}
        self.socket.sendall(_frame(json.dumps(begin if since is None else {**begin, "since": since})))

    def confirm(self) -> None:
        """Wait for the answer to its command; with ``since``, events may follow it at once."""
        while not (frames := self._take(1)):
            self._receive()
        answer = json.loads(frames[0])
        if answer.get("code", 200) != 200:
            raise ConnectionError(frames[0].decode())

    def receive(self) -> list[bytes]:
        """What has come; ConnectionError if it was closed."""
        self._receive()
        return self._take()

    def rest(self) -> list[bytes]:
        """What had come together with the answer."""
        return self._take()

    def close(self) -> None:
        """Disconnect."""
        self.socket.close()

    def _receive(self) -> None:
        received = self.socket.recv(_READ_BYTES)
        if not received:
            raise ConnectionError("the server closed the connection")
        self._data += received

    def _take(self, most: int | None = None) -> list[bytes]:
        """Whole text frames; pings are answered on the way."""
        data, at = self._data, 0
        found: list[bytes] = []
        while len(data) - at >= 2 and (most is None or len(found) < most):
            length, body = data[at + 1] & 127, at + 2
            if length >= 126:
                size = 2 if length == 126 else 8
                if len(data) < body + size:
                    break
                length, body = int.from_bytes(data[body : body + size], "big"), body + size
            if len(data) < body + length:
                break
            kind = data[at] & 15
            if kind == 1:
                found.append(data[body : body + length])
            elif kind == 9:
                self.socket.sendall(b"\x8a\x80" + _MASK)
            at = body + length
        self._data = data[at:]
        return found


class Crowd:
    """Many clients, read by one loop."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = {client.socket.fileno(): client for client in clients}
        self._poll = select.epoll()
        for descriptor in self._clients:
            self._poll.register(descriptor, select.EPOLLIN)

    def collect(
        self, wanted: int, frame: Callable[[bytes, float], Any] | None = None, idle: Callable[[], Any] | None = None
    ) -> float:
        """Read until every client has had so many events; when the last had them, by ``time.perf_counter``.

        Args:
            frame: called with each event and when it came.
            idle: called now and then.
        """
        missing = dict.fromkeys(self._clients, wanted)
        waiting = {descriptor for descriptor in missing if wanted}
        now = begin = looked = time.perf_counter()
        for descriptor, client in self._clients.items():
            _count(client.rest(), missing, waiting, descriptor, frame, now)
        while waiting:
            ready = self._poll.poll(1.0)
            for descriptor, _ in ready:
                frames = self._clients[descriptor].receive()
                now = time.perf_counter()
                _count(frames, missing, waiting, descriptor, frame, now)
            if idle is not None and time.perf_counter() - looked > 0.02:
                idle()
                looked = time.perf_counter()
            if time.perf_counter() - begin > LIMIT_S:
                raise TimeoutError(f"{len(waiting)} clients have not had all events after {LIMIT_S:g} s")
        return now

    def close(self) -> None:
        """Disconnect all."""
        self._poll.close()
        for client in self._clients.values():
            client.close()


def crowd(port: int, path: str, count: int) -> Crowd:
    """So many clients that follow one path."""
    clients = [Client(port, path) for _ in range(count)]
    for client in clients:
        client.confirm()
    return Crowd(clients)


def _count(
    frames: list[bytes],
    missing: dict[int, int],
    waiting: set[int],
    descriptor: int,
    frame: Callable[[bytes, float], Any] | None,
    now: float,
) -> None:
    events = [one for one in frames if not one.startswith(b'{"bookmark"')]
    if frame is not None:
        for one in events:
            frame(one, now)
    missing[descriptor] -= len(events)
    if missing[descriptor] <= 0:
        waiting.discard(descriptor)


def _frame(text: str) -> bytes:
    payload = text.encode()
    head = bytes([0x81, 0x80 | len(payload)]) if len(payload) < 126 else b"\x81\xfe" + struct.pack(">H", len(payload))
    return head + _MASK + payload
