"""The load generator: some connections, each of which sends the next request when it has the whole answer."""

from __future__ import annotations

import os
import select
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: an answer that does not go on for so long is incomplete
STALL_S = 60.0
_TICK = os.sysconf("SC_CLK_TCK")


class BadAnswerError(Exception):
    """An answer with another status than was expected; the message has its beginning."""


@dataclass
class Load:
    """One run.

    Attributes:
        latencies: seconds from the request to the end of the answer.
        seconds: how long all of it took.
        cpu_seconds: what it took of the server's process, all threads.
        incomplete: answers that broke off.
    """

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    incomplete: int = 0

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds of the server per request."""
        return self.cpu_seconds / len(self.latencies) * 1e3

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    @property
    def p95_ms(self) -> float:
        """Milliseconds within which nineteen of twenty answers were there."""
        return statistics.quantiles(self.latencies, n=20)[-1] * 1e3 if len(self.latencies) > 1 else float("nan")


class _Connection:
    """One connection with one request on its way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.socket: socket.socket
        self.begun = 0.0
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port), timeout=STALL_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> None:
        self._data = bytearray()
        self._body = -1
        self._end: int | None = None
        self._chunk = 0
        self.status = 0
        self.begun = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take what is there; true if that completes the answer. Raises ConnectionError if it breaks off."""
        received = self.socket.recv(1 << 18)
        if not received:
            raise ConnectionError(f"closed after {len(self._data)} bytes")
        self._data += received
        if self._body < 0:
            at = self._data.find(b"\r\n\r\n")
            if at < 0:
                return False
            head = bytes(self._data[:at]).lower()
            self._body = self._chunk = at + 4
            self.status = int(head[9:12])
            length = head.find(b"\r\ncontent-length:")
            if length >= 0:
                self._end = self._body + int(head[length + 17 :].split(b"\r\n", 1)[0])
            elif b"\r\ntransfer-encoding: chunked" not in head:
                self._end = self._body
        if self._end is not None:
            return len(self._data) >= self._end
        while (at := self._data.find(b"\r\n", self._chunk)) >= 0:
            size = int(self._data[self._chunk : at].split(b";", 1)[0], 16)
            after = at + 2 + size + 2
            if len(self._data) < after:
                return False
            self._chunk = after
            if size == 0:
                return True
        return False

    @property
    def answer(self) -> tuple[int, bytes, bytes]:
        """Status, head and (where it came with its length) body."""
        return self.status, bytes(self._data[: self._body]), bytes(self._data[self._body :])


def get(port: int, path: str, **fields: str) -> tuple[int, bytes, bytes]:
    """One answer on a connection of its own: status, head, body."""
    return ask(port, request(path, **fields))


def ask(port: int, request: bytes) -> tuple[int, bytes, bytes]:
    """The answer to a whole request, on a connection of its own: status, head, body."""
    connection = _Connection(port)
    with connection.socket:
        connection.send(request)
        while not connection.receive():
            pass
        return connection.answer


def stream(port: int, path: str) -> Iterator[str]:
    """The lines of an answer that does not end; listening has begun when the first one is there."""
    with socket.create_connection(("127.0.0.1", port), timeout=STALL_S) as connection:
        connection.sendall(request(path))
        with connection.makefile("r", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield line.rstrip("\r\n")


def request(path: str, **fields: str) -> bytes:
    """A GET, with what a client of the API sends."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Accept: application/json", "User-Agent: bench"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def run(port: int, pid: int, requests: Iterator[bytes], clients: int, seconds: float, status: int = 200) -> Load:
    """So many clients for so long. Raises BadAnswerError for an answer of another status."""
    load = Load()
    connections = {(one := _Connection(port)).socket.fileno(): one for _ in range(clients)}
    poll = select.epoll()
    cpu, begin = cpu_seconds(pid), time.perf_counter()
    end = begin + seconds
    for descriptor, connection in connections.items():
        poll.register(descriptor, select.EPOLLIN)
        connection.send(next(requests))
    while connections:
        ready = poll.poll(STALL_S)
        if not ready:
            load.incomplete += len(connections)
            break
        for descriptor, _ in ready:
            connection = connections[descriptor]
            try:
                if not connection.receive():
                    continue
            except (ConnectionError, TimeoutError):
                load.incomplete += 1
                connection.socket.close()
                connection.connect()
                del connections[descriptor]
                connections[connection.socket.fileno()] = connection
                poll.register(connection.socket.fileno(), select.EPOLLIN)
                connection.send(next(requests))
                continue
            now = time.perf_counter()
            load.latencies.append(now - connection.begun)
            if connection.status != status:
                raise BadAnswerError(f"{connection.status} instead of {status}: {connection.answer[2][:200]!r}")
            if now < end:
                connection.send(next(requests))
            else:
                poll.unregister(descriptor)
                connections.pop(descriptor).socket.close()
    load.seconds = time.perf_counter() - begin
    load.cpu_seconds = cpu_seconds(pid) - cpu
    return load


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, all threads, in steps of the kernel's clock tick."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
