"""Requests that go by proxies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.web.server import Site

from buildbot.util.background import in_background
from buildbot.util.httpclient import NoAnswerError
from buildbot.util.httpproxies import Proxies, Proxy
from tests.support.reactor import reactor
from tests.unit.util.test_httpclient import Server, make_certificate, serving


class TestProxy(Protocol):
    """A proxy: opens tunnels, answers other requests itself, and notes the head of each."""

    def __init__(self, heads: list[str], answer: bytes | None) -> None:
        self.heads, self.answer = heads, answer
        self.received = b""
        self.other: Any = None

    def dataReceived(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)
            return
        self.received += data
        head, end, _ = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        self.heads.append(head.decode())
        transport: Any = self.transport
        if self.answer is not None or not head.startswith(b"CONNECT"):
            transport.write(self.answer or b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            transport.loseConnection()
        else:
            in_background(self.connect(head.split()[1].decode()), "tunnel")

    async def connect(self, target: str) -> None:
        transport: Any = self.transport

        class Other(Protocol):
            def dataReceived(self, data: bytes) -> None:
                transport.write(data)

            def connectionLost(self, reason: Any = None) -> None:
                transport.loseConnection()

        host, _, port = target.rpartition(":")
        endpoint = HostnameEndpoint(reactor, host, int(port))
        other: Any = await endpoint.connect(Factory.forProtocol(Other))
        self.other = other.transport
        transport.write(b"HTTP/1.1 200 OK\r\n\r\n")

    def connectionLost(self, reason: Any = None) -> None:
        if self.other is not None:
            self.other.loseConnection()


@asynccontextmanager
async def proxy(answer: bytes | None = None) -> AsyncIterator[tuple[list[str], str]]:
    """A running proxy: the heads of its requests, and ``host:port``."""
    heads: list[str] = []
    factory = Factory.forProtocol(lambda: TestProxy(heads, answer))
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        yield heads, f"127.0.0.1:{port.getHost().port}"
    finally:
        await port.stopListening()


async def test_tunnel(tmp_path: Path) -> None:
    """A request by TLS goes through a tunnel; the server's certificate is checked as without a proxy."""
    pem = make_certificate(tmp_path, "127.0.0.1")
    site = Site(Server(lambda request: b"x" * 100_000))
    async with serving(site, PrivateCertificate.loadPEM(pem.read_text()).options()) as (http, url), proxy() as asked:
        heads, address = asked
        proxies = Proxies.of({"https": f"http://jo:p%40ss@{address}"})
        for _ in range(2):
            answer = await http.request("GET", url, ca_file=str(pem), proxies=proxies)
            assert answer.body == b"x" * 100_000
        target = url.removeprefix("https://")
        assert heads == [f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic am86cEBzcw=="]
        with pytest.raises(NoAnswerError, match="certificate verify failed"):
            await http.request("GET", url, proxies=proxies)


async def test_without_tls() -> None:
    """A request without TLS is sent to the proxy whole."""
    async with serving(Site(Server())) as (http, url), proxy() as (heads, address):
        answer = await http.request("GET", "http://far.example/a", proxies=Proxies.of({"all": address}))
        assert answer.body == b"{}" and heads[0].startswith("GET http://far.example/a HTTP/1.1\r\n")
        direct = Proxies.of({"all": address, "no_proxy": "127.0.0.1"})
        assert (await http.request("GET", url, proxies=direct)).ok and len(heads) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", "the proxy answers 407"),
        (b"SSH-2.0\r\n\r\n", "the proxy's answer is no HTTP"),
        (b"x" * 20_000, "the proxy's answer is no HTTP"),
        (b"HTTP/1.1 200", "the proxy closed the connection"),
    ],
)
async def test_no_tunnel(answer: bytes, said: str) -> None:
    """A proxy that opens none fails the request, which says why."""
    async with serving(Site(Server())) as (http, _), proxy(answer) as (_, address):
        with pytest.raises(NoAnswerError, match=f"^GET https://far.example/: {said}$"):
            await http.request("GET", "https://far.example/", proxies=Proxies.of({"https": address}))


async def test_proxy_that_is_not_there() -> None:
    """Nor can it be asked."""
    async with serving(Site(Server())) as (http, _):
        with pytest.raises(NoAnswerError, match="the connection is refused"):
            await http.request("GET", "https://far.example/", proxies=Proxies.of({"https": "http://127.0.0.1:1"}))


def test_which_proxy() -> None:
    """The most exact key counts; names in no_proxy include their subdomains."""
    given = {
        "http": "a:1",
        "https": "https://b",
        "all": "http://c",
        "https://exact.example": "d:4/",
        "all://mail.example": "e",
        "no_proxy": "near.example, .other.example",
    }
    proxies = Proxies.of(given)
    found = {
        address: proxies.proxy_for(*address.split("://"))
        for address in ("http://x", "https://x", "https://Exact.example", "ftp://x", "ftp://mail.example")
    }
    assert {address: each and (each.scheme, each.host, each.port) for address, each in found.items()} == {
        "http://x": ("http", "a", 1),
        "https://x": ("https", "b", 443),
        "https://Exact.example": ("http", "d", 4),
        "ftp://x": ("http", "c", 80),
        "ftp://mail.example": ("http", "e", 80),
    }
    for host in ("near.example", "a.near.example", "other.example"):
        assert proxies.proxy_for("http", host) is None
    assert proxies.proxy_for("http", "nearer-near.example") is not None
    assert Proxies.of({"http": None, "no_proxy": "*"}).proxy_for("http", "x") is None
    assert "hush" not in repr(Proxy.of("http://jo:hush@x")) and "anVt" not in repr(Proxy.of("http://jo:hush@x"))
