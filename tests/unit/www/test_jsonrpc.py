"""JSON-RPC: calls, results and every way to be wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildbot.www.api.jsonrpc import JsonRpc
from buildbot.www.authz.access import AccessRequest
from buildbot.www.http.messages import Request
from buildbot.www.sessions import ANONYMOUS, Visitor
from tests.unit.www.fake_data import FakeData, make_data


class Open:
    """A gate that allows everything to all visitors."""

    async def check(self, visitor: Visitor, asked: AccessRequest) -> None:
        """Refuse nothing."""


async def post(data: FakeData, path: str, body: Any, content_type: str = "application/json") -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request("POST", path, headers={"content-type": content_type}, body=raw)
    response = await JsonRpc(data, Open()).handle(request, tuple(path.split("/")), ANONYMOUS)
    assert response.header("content-type") == "application/json"
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body)


def call(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 5, "method": method, "params": params}


async def test_result() -> None:
    """An action's result comes with the call's id."""
    data = make_data()
    assert await post(data, "builds/3", call("stop", reason="why")) == (
        200,
        {"id": 5, "jsonrpc": "2.0", "result": None},
    )
    assert data.asked == [("stop", {"reason": "why", "owner": "anonymous"}, ("builds", "3"))]


async def test_owner_is_never_the_clients() -> None:
    """``owner`` sent by the client is overwritten."""
    data = make_data()
    await post(data, "forceschedulers/force", call("force", owner="root"), "application/json; charset=utf-8")
    assert data.asked[0][1] == {"owner": "anonymous"}


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "message"),
    [
        ("builds/3", b"{", 400, -32700, None),
        ("builds/3", b"\xff", 400, -32700, None),
        ("builds/3", b"[" * 100_000, 400, -32700, None),
        ("builds/3", [], 400, -32600, "JSONRPC batch requests are not supported"),
        ("builds/3", 3, 400, -32600, "JSONRPC root object must be an object"),
        ("builds/3", {}, 400, -32600, "missing key 'jsonrpc'"),
        ("builds/3", {"jsonrpc": "2.0"}, 400, -32600, "missing key 'method'"),
        ("builds/3", {"jsonrpc": "2.0", "method": "m"}, 400, -32600, "missing key 'id'"),
        ("builds/3", {"jsonrpc": "2.0", "method": "m", "id": 1}, 400, -32600, "missing key 'params'"),
        ("builds/3", {**call("stop"), "params": []}, 400, -32600, "'params' must be an object"),
        ("builds/3", {**call("stop"), "id": []}, 400, -32600, "'id' must be a string, number, or null"),
        ("builds/3", {**call("stop"), "id": True}, 400, -32600, "'id' must be a string, number, or null"),
        ("builds/3", {**call("stop"), "method": 1}, 400, -32600, "'method' must be a string"),
        ("builds/3", {**call("stop"), "jsonrpc": "1.0"}, 400, -32600, "only JSONRPC 2.0 is supported"),
        ("nowhere", call("stop"), 404, -32600, "Invalid path: nowhere"),
        ("builds/3", call("stop", surprise=1), 400, -32602, "stop: unknown argument 'surprise'"),
        ("builds/3", call("explode"), 501, -32601, "action: explode is not supported"),
        (
            "forceschedulers/force",
            call("force", reason=""),
            400,
            -32602,
            {"reason": "'reason:' needs to be specified"},
        ),
    ],
)
async def test_errors(path: str, body: Any, status: int, code: int, message: Any) -> None:
    """Errors have JSON-RPC's shape, code and the HTTP status of the table."""
    got, reply = await post(make_data(), path, body)
    assert (got, reply["error"]["code"], reply["jsonrpc"]) == (status, code, "2.0")
    if message is not None:
        assert reply["error"]["message"] == message


async def test_content_type() -> None:
    """Content types that a form of another site can send are refused."""
    status, reply = await post(make_data(), "builds/3", call("stop"), "text/plain")
    assert (status, reply["error"]) == (
        400,
        {"code": -32600, "message": "Invalid content-type (use application/json)"},
    )
    assert "id" not in reply


async def test_starting() -> None:
    """An action that is not possible yet gets an error that asks for another try, not "unknown" nor "invalid"."""
    request = Request("POST", "x", headers={"content-type": "application/json"}, body=json.dumps(call("stop")).encode())
    starting = [True]
    rpc = JsonRpc(make_data(), Open(), lambda: starting[0])
    response = await rpc.handle(request, ("builds", "3"), ANONYMOUS)
    assert (response.status, response.header("retry-after")) == (503, "1")
    starting[0] = False
    assert (await rpc.handle(request, ("builds", "3"), ANONYMOUS)).status == 200


@pytest.mark.parametrize("where", ["value", "name", "deep"])
@pytest.mark.parametrize(("text", "why"), [("a\0", "NUL"), ("a\ud800", "surrogate")])
async def test_no_text(where: str, text: str, why: str) -> None:
    """Text that no database stores is refused in every place."""
    values: dict[str, Any] = {"value": text, "name": {text: 1}, "deep": [{"a": ["b", {"c": text}]}]}
    status, reply = await post(make_data(), "builds/3", call("stop", reason=values[where]))
    assert (status, reply["error"]["code"]) == (400, -32602)
    assert why in reply["error"]["message"]


async def test_internal() -> None:
    """The answer to an unforeseen error does not have its text."""
    data = make_data()
    data.broken = ZeroDivisionError("secret")
    assert await post(data, "builds/3", call("stop")) == (
        500,
        {"id": 5, "jsonrpc": "2.0", "error": {"code": -32603, "message": "internal error - see logs"}},
    )
