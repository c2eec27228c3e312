"""Requests as malice and accidents make them: query strings, bodies, paths, headers, streams, WebSocket frames.

Each function makes one from a ``Random``; the same seed makes the same.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar
from urllib.parse import quote

from tests.fuzz.wire import request

T = TypeVar("T")

#: values that are numbers, text or neither, and that storage and parsers stumble over
VALUES: tuple[str, ...] = (
    "0", "1", "-1", "007", "+5", "1_0", " 1", "1.5", "1e5", "0x10", "NaN", "inf", "٣", "true", "TRUE", "yes", "null",
    "",
    str(2**31 - 1), str(2**31), str(-(2**31) - 1), str(2**53), str(2**63 - 1), str(2**63), str(-(2**63)), str(2**64),
    str(2**200), "9" * 5000, "x" * 8000, "\x00", "a\x00b", "\n", "\r\nX-Injected: 1", "<script>",
    "'; DROP TABLE builds;--",
    "%", "_", "\\", '"', "🦊", "\ufeff", "\u202e", "e\u0301", "*", "**", "builder", "builder.builds.builder.builds",
    ".", "..", "-", "--", "buildid", "-buildid", "properties", "-properties", "{}", "[]", "a,b", "a|b", "__eq",
)  # fmt: skip

#: what parameters and most fields take, to their limits
_NUMBERS = ("0", "1", "2", "-1", "1", str(2**31), str(2**63 - 1), str(-(2**63) + 1), str(2**63))
_LIKELY = {
    "field": ("buildid", "number", "name", "complete", "properties"),
    "order": ("buildid", "-number", "-name", "complete", "results"),
    "expand": ("builder", "buildrequest.buildset", "steps.logs", "builds", "builder.builds.builder.builds"),
    "property": ("*", "owner"),
    "complete": ("true", "false"),
    "name": ("b1", "w1", "compile", "stdio"),
}
_OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "contains", "in", "notin", "like", "", "eq__eq", "__")
_BAD_ESCAPES = (b"%", b"%2", b"%zz", b"%ff", b"%c0%af", b"%ed%a0%80", b"%00", b"%f4%90%80%80", b"%0d%0aX-Injected:%201")
_JSON = (0, 1, -1, 2**31, 2**63, 2**64, -(2**70), 10**400, 1.5, True, None, "\ud800", "\udfff\ud800", float("nan"))
_NO_JSON = (
    b"", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 100_000, b"1e99999", b"\xff\xfe{", b"{} {}", b"NaN", b'"\\ud800"',
)  # fmt: skip
_METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "BREW")


class Hostile:
    """Makes requests.

    Args:
        random: decides.
        document: the server's OpenAPI document, which names paths, parameters and actions.
    """

    def __init__(self, random: Random, document: Mapping[str, Any]) -> None:
        self._random = random
        self._paths = [path for path in document["paths"] if path.startswith("/api")]
        self._callable = [path for path, item in document["paths"].items() if "post" in item]
        self._methods = sorted(
            {
                call["title"]
                for item in document["paths"].values()
                if "post" in item
                for call in item["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
            }
        )
        parameters = document["components"]["parameters"]
        self._parameters = {
            path: [parameters[each["$ref"].rpartition("/")[2]]["name"] for each in item["get"]["parameters"]]
            for path, item in document["paths"].items()
            if path.startswith("/api")
        }
        self._fields = sorted({name.rpartition(".")[2] for name in parameters})
        self.kinds: dict[str, Callable[[], bytes]] = {
            "query": self.query,
            "call": self.call,
            "path": self.path,
            "header": self.header,
            "sse": self.sse,
            "hook": self.hook,
            "bytes": self.garbage,
        }

    def query(self) -> bytes:
        """A GET with a query string."""
        pairs = []
        path = self._pick(self._paths)
        known = self._parameters[path] if self._chance(0.8) else self._fields
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 8, 1200))):
            name = self._pick(known) if self._chance(0.9) else self._pick(VALUES)
            if self._chance(0.1):
                name = f"{name.partition('__')[0]}__{self._pick(_OPERATORS)}"
            value = self._pick(_LIKELY.get(name, _NUMBERS)) if self._chance(0.6) else self._pick(VALUES)
            pairs.append(quote(name[:50]).encode() + b"=" + self._escaped(value))
        return self._get(quote(self._filled(path)).encode() + b"?" + b"&".join(pairs))

    def path(self) -> bytes:
        """A path that leads nowhere, or out."""
        segments: list[bytes] = []
        for segment in self._filled().strip("/").split("/"):
            segments.append(self._escaped(self._pick(VALUES)) if self._chance(0.3) else quote(segment).encode())
        if self._chance(0.3):
            ways_out = (b"..", b"%2e%2e", b"..%2f..%2fetc%2fpasswd", b"%5c..", b"....//", b"", b"~root", b".git")
            place = self._pick(ways_out)
            segments.insert(self._random.randrange(len(segments) + 1), place)
        roots = (b"", b"page/", b"plugins/", b"assets/", b"avatar/", b"auth/", b"config/", b"http://x/")
        return self._get(b"/" + self._pick(roots) + b"/".join(segments))

    def header(self) -> bytes:
        """A request with hostile header fields."""
        names = (
            "Origin", "Cookie", "Range", "If-None-Match", "Accept", "Accept-Encoding", "Last-Event-ID", "Authorization",
            "Content-Type", "X-Forwarded-For", "Referer", "Expect", "Upgrade", "X-Hub-Signature",
            "Access-Control-Request-Method",
        )  # fmt: skip
        values = (
            b"", b"*", b"null", b"bytes=0-", b"bytes=5-2", b"bytes=-0", b"bytes=99999999999999999999-",
            b"bytes=0-0,1-1",
            b"\xff\xfe", b"x" * 8000, b"http://evil.example", b"TWISTED_SESSION=abc; tenfold=x.y",
            b"gzip;q=0, zstd;q=1e9",
            b'W/"x"', b"a,b,,,", b"Basic !!!", b"Bearer " + b"a" * 3000, b"text/html;" * 300, b"\x01\x02",
            b"100-continue",
        )  # fmt: skip
        headers = {self._pick(names): self._pick(values) for _ in range(self._random.randrange(1, 6))}
        roots = ("/config", "/auth/login?redirect=//evil", "/auth/logout", "/avatar?email=<x>&size=9999999", "/metrics")
        target = self._filled() if self._chance(0.7) else self._pick(roots)
        return request(self._pick(_METHODS), quote(target, safe="/?=&").encode(), headers)

    def call(self) -> bytes:
        """A JSON-RPC call: right, nearly right, or no JSON at all."""
        body: Any = {"jsonrpc": "2.0", "id": 1, "method": self._pick(self._methods), "params": self._params()}
        for _ in range(self._random.randrange(0, 2)):
            body[self._pick(("jsonrpc", "id", "method", "params", "extra"))] = self._json()
        if self._chance(0.1):
            body = [body] * self._random.randrange(0, 5) if self._chance(0.5) else self._json()
        text = json.dumps(body).encode()
        broken = self._random.random()
        if broken < 0.15:
            text = self._mutated(text)
        elif broken < 0.25:
            text = self._pick(_NO_JSON)
        kind = self._pick((b"application/json",) * 8 + (b"text/plain", b"", b"application/json; charset=utf-16"))
        target = self._filled(self._pick(self._callable)) if self._chance(0.85) else self._filled()
        return request("POST", quote(target).encode(), {"Content-Type": kind}, text)

    def sse(self) -> bytes:
        """A stream, or a change of somebody's stream."""
        paths = (
            "", "listen/builds/*/*", "builds/*/new", "add/x/builds", "add/", "remove", "listen/a//b",
            "listen/" + "*/" * 500,
        )  # fmt: skip
        since = b"?since=" + self._escaped(self._pick(VALUES)) if self._chance(0.6) else b""
        path = self._pick(paths).encode() if self._chance(0.6) else self._escaped(self._pick(VALUES))
        return request("GET", b"/sse/" + path + since, {"Last-Event-ID": self._pick((b"", b"1", b"x", b"9" * 30))})

    def hook(self) -> bytes:
        """A change hook's delivery."""
        dialects = ("base", "github", "gitlab", "gitea", "bitbucketcloud", "poller", "nope", "", "..", "base/extra")
        types = (b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data", b"")
        headers = {
            "Content-Type": self._pick(types),
            "X-GitHub-Event": self._pick((b"push", b"ping", b"pull_request", b"x")),
            "X-Gitlab-Event": self._pick((b"Push Hook", b"Merge Request Hook", b"")),
            "X-Hub-Signature-256": self._pick((b"", b"sha256=00", b"sha256=\xff")),
        }
        names = ("ref", "commits", "repository", "project", "object_kind", "after", "files", "author")
        body = json.dumps({self._pick(names): self._json() for _ in range(4)}).encode()
        if self._chance(0.4):
            body = b"author=%00&comments=%ff&files=%5B1&when_timestamp=1e99"
        return request(self._pick(("POST", "GET")), f"/change_hook/{self._pick(dialects)}".encode(), headers, body)

    def garbage(self) -> bytes:
        """What is hardly HTTP."""
        whole = self._pick((self.query, self.call, self.header))()[:4000]
        return self._mutated(whole) + b"\r\n\r\n"

    def frames(self, path: str = "builds/*/new") -> bytes:
        """A WebSocket handshake and what follows: commands, mutated commands, garbage, floods."""
        key = base64.b64encode(self._random.randbytes(16)).decode()
        handshake = {
            "Upgrade": b"websocket",
            "Sec-WebSocket-Key": key.encode(),
            "Sec-WebSocket-Version": b"13",
        }
        head = request("GET", b"/ws", handshake).replace(b"Connection: close", b"Connection: Upgrade")
        sent = []
        for _ in range(self._random.choice((1, 3, 20))):
            frame: Any = {"_id": 1, "cmd": self._pick(("startConsuming", "stopConsuming", "ping", "x")), "path": path}
            for _ in range(self._random.randrange(0, 3)):
                frame[self._pick(("_id", "cmd", "path", "since", "type", "extra"))] = self._json()
            if self._chance(0.2):
                frame["path"] = self._pick(VALUES)
            payload = json.dumps(frame if self._chance(0.97) else self._json()).encode()
            if self._chance(0.04):
                payload = self._mutated(payload)
            sent.append(self._frame(payload))
            if self._chance(0.03):
                sent.append(self._mutated(sent[-1]) if self._chance(0.5) else self._random.randbytes(200))
        if self._chance(0.02):
            sent = [self._frame(b'{"_id":1,"cmd":"ping"}')] * 5000
        return head + b"".join(sent) + self._frame(b'{"_id":"last","cmd":"ping"}')

    def _frame(self, payload: bytes, opcode: int = 1) -> bytes:
        if self._chance(0.03):
            opcode = self._random.randrange(16)
        mask = self._random.randbytes(4)
        size = len(payload)
        head = bytes([0x80 | opcode])
        head += bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + struct.pack(">H", min(size, 65535))
        return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload[:65535]))

    def _get(self, target: bytes) -> bytes:
        accept = self._pick((b"application/json", b"*/*", b"text/html"))
        return request(self._pick(("GET", "GET", "GET", "HEAD")), target, {"Accept": accept})

    def _filled(self, path: str | None = None) -> str:
        """A path with something in place of its variables, that exists more often than not."""
        parts = []
        for part in (path or self._pick(self._paths)).split("/"):
            if part.startswith("{"):
                likely = ("1", "2", "3", "b1", "force", "stdio", "compile", "data", "proj", "code", "1" * 40)
                part = self._pick(likely) if self._chance(0.8) else self._pick(VALUES).replace("/", "")[:200]
            parts.append(part)
        return "/".join(parts)

    def _params(self) -> Any:
        names = (
            "reason", "priority", "enabled", "results", "owner", "builderid", "builderNames", "number", "choice",
            "nest", "inner", "username", "branch", "revision", "repository", "project", "property", "_x",
        )  # fmt: skip
        return {self._pick(names): self._json() for _ in range(self._random.randrange(0, 4))}

    def _json(self, depth: int = 0) -> Any:
        kind = self._random.randrange(10)
        if kind < 5:
            return self._pick(VALUES)
        if kind < 8 or depth > 3:
            return self._pick(_JSON)
        if kind == 8:
            return [self._json(depth + 1) for _ in range(self._random.randrange(4))]
        return {self._pick(VALUES)[:100]: self._json(depth + 1) for _ in range(self._random.randrange(4))}

    def _escaped(self, text: str) -> bytes:
        if self._chance(0.1):
            return self._pick(_BAD_ESCAPES)
        return quote(text, safe="" if self._chance(0.9) else "/%\r\n").encode()

    def _mutated(self, data: bytes) -> bytes:
        """The same with some bytes changed, lost, or doubled."""
        changed = bytearray(data)
        for _ in range(self._random.randrange(1, 5)):
            place = self._random.randrange(len(changed) or 1)
            what = self._random.randrange(4)
            if what == 0 and changed:
                changed[place] = self._random.randrange(256)
            elif what == 1:
                del changed[place : place + self._random.randrange(1, 8)]
            elif what == 2:
                changed[place:place] = self._random.randbytes(3)
            else:
                changed[place:place] = changed[place : place + 20]
        return bytes(changed)

    def _pick(self, among: Sequence[T]) -> T:
        return self._random.choice(among)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability


def new_seed() -> int:
    """A seed that nobody chose."""
    return int.from_bytes(os.urandom(4))
