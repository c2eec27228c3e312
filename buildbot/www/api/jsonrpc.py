"""JSON-RPC 2.0 over POST: stop, rebuild, cancel, force and the other actions of the Data API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from buildbot.www import jsonbody
from buildbot.www.authz.access import AccessRequest
from buildbot.www.errors import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, RefusedError, problem_of
from buildbot.www.http.messages import Request, Response
from buildbot.www.sessions import Visitor


class Control(Protocol):
    """The part of the Data API that actions need."""

    def control(self, action: str, args: dict[str, Any], path: tuple[Any, ...]) -> Deferred[Any]:
        """Run an action of the resource at a path."""


class Check(Protocol):
    """The part of the gate that calls need."""

    async def check(self, visitor: Visitor, asked: AccessRequest) -> None:
        """Raise RefusedError if the visitor may not do this."""


class JsonRpc:
    """Answers POST below ``/api/v2``.

    The content type must be JSON: browsers ask for permission before they send that to another origin, so that a form
    on another site's page cannot act here.
    """

    def __init__(self, data: Control, gate: Check, is_starting: Callable[[], bool] = lambda: False) -> None:
        self._data = data
        self._gate = gate
        self._is_starting = is_starting

    async def handle(self, request: Request, path: tuple[str, ...], visitor: Visitor) -> Response:
        """The reply to a visitor's call of an action of ``path``, errors included."""
        call: dict[str, Any] = {}
        try:
            call = _decode(request)
            if self._is_starting():
                raise RefusedError(503, "this master is starting; try again", INTERNAL_ERROR)
            await self._gate.check(visitor, AccessRequest(path, call["method"], call["params"]))
            # The session tells who acts; a name in the client's call is ignored.
            arguments = {**call["params"], "owner": visitor.owner}
            result = await self._data.control(call["method"], arguments, path)
        except Exception as error:
            return error_response(error, call)
        return _reply(200, {"id": call["id"], "jsonrpc": "2.0", "result": result})


def error_response(error: Exception, call: dict[str, Any]) -> Response:
    """The error object of JSON-RPC; without an ``id`` if the request could not be read."""
    problem = problem_of(error)
    body: dict[str, Any] = {"jsonrpc": "2.0", "error": {"code": problem.code, "message": problem.message}}
    if "id" in call:
        body["id"] = call["id"]
    response = _reply(problem.status, body)
    return response.with_headers(("Retry-After", "1")) if problem.status == 503 else response


def _reply(status: int, body: dict[str, Any]) -> Response:
    return Response(status, (("Content-Type", "application/json"),), jsonbody.compact(body))


def _decode(request: Request) -> dict[str, Any]:
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise RefusedError(400, "Invalid content-type (use application/json)")
    try:
        call = jsonbody.parse(request.body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"JSON parse error: {error}", PARSE_ERROR)
    if isinstance(call, list):
        raise RefusedError(400, "JSONRPC batch requests are not supported")
    if not isinstance(call, dict):
        raise RefusedError(400, "JSONRPC root object must be an object")
    for name, kinds, what in _MEMBERS:
        if name not in call:
            raise RefusedError(400, f"missing key '{name}'")
        # In Python a bool is an int, in JSON it is not.
        if not isinstance(call[name], kinds) or isinstance(call[name], bool):
            raise RefusedError(400, f"'{name}' must be {what}")
    what_is_unstorable_text = _unstorable_text(call["params"])
    if what_is_unstorable_text is not None:
        raise RefusedError(400, f"params: {what_is_unstorable_text}", INVALID_PARAMS)
    if call["jsonrpc"] != "2.0":
        raise RefusedError(400, "only JSONRPC 2.0 is supported", INVALID_REQUEST)
    return call


def _unstorable_text(value: object) -> str | None:
    """Why a text in a JSON value cannot be stored; None if all can."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str):
            if "\0" in each:
                return "a text holds the character NUL"
            if not each.isascii() and any("\ud800" <= char <= "\udfff" for char in each):
                return "a text holds half of a surrogate pair"
    return None


_MEMBERS: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("jsonrpc", (str,), "a string"),
    ("method", (str,), "a string"),
    ("id", (str, int, float, type(None)), "a string, number, or null"),
    ("params", (dict,), "an object"),
)
