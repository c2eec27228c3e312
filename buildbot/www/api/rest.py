"""REST v2: a GET of a path of the Data API, as JSON, with the clock at which it was true."""

from __future__ import annotations

import secrets
import time
from email.utils import formatdate
from typing import Any

from buildbot.resources.build_data import BUILD_DATA
from buildbot.www import jsonbody
from buildbot.www.api import logsearch, rawdata, rawlog
from buildbot.www.api.query import options_of
from buildbot.www.api.response_cache import ResponseCache
from buildbot.www.errors import RefusedError, problem_of
from buildbot.www.http.compression import CODINGS, accepted, compressed
from buildbot.www.http.messages import Request, Response
from buildbot.www.interfaces import Data, Endpoint
from buildbot.www.settings import Settings

CLOCK_HEADER = "X-Tenfold-Clock"

#: the path of the locks that this master's builds and steps hold and wait for
LOCKS = ("locks",)
_LIVE = (("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", "no-store"))


class RestApi:
    """Answers GET and HEAD below ``/api/v2``.

    Two things save queries. A response is kept and given again while the database is the same (``ResponseCache``). And
    every response has a validator (``ETag``): the clock for nouns whose every change is announced, the database's
    version for other nouns. A client that has the present response gets 304. Validators name this process, so that a
    validator of another database is never taken for a present one.

    The gate checks the visitor's rights before ``handle`` is called.

    Args:
        data: the Data API.
        settings: limits and caching.
    """

    def __init__(self, data: Data, settings: Settings) -> None:
        self._data = data
        self._settings = settings
        self._process = secrets.token_hex(4)
        self._answers = ResponseCache(settings.rest_cache_bytes)

    async def handle(self, request: Request, path: tuple[str, ...]) -> Response:
        """The reply to a GET or HEAD of ``path``, errors included."""
        try:
            return await self._get(request, path)
        except Exception as error:
            return error_response(error)

    async def _get(self, request: Request, path: tuple[str, ...]) -> Response:
        if path == LOCKS:
            return Response(200, _LIVE, jsonbody.compact(self._locks()))
        if logsearch.is_search(path):
            return await self._search(request, path)
        sent = request.header("if-none-match")
        codings = accepted(request) & CODINGS if "accept-encoding" in request.headers else _NONE
        as_json = "application/json" in (request.header("accept") or "")
        key = (path, request.query, as_json, codings)
        version = clock = 0
        if sent is not None or key in self._answers:
            version, clock = await self._data.version()
            kept = self._answers.get(key, version)
            if kept is not None:
                return kept if sent is None else self._unchanged(sent, kept.header("ETag"), clock) or kept
        endpoint, options = self._asked(request, path)
        announced = endpoint.announced and "expand" not in options
        unchanged = self._unchanged(sent, self._validator(announced, version, clock), clock)
        if unchanged is not None:
            return unchanged
        if endpoint.plural == BUILD_DATA.plural and endpoint.kind == "raw":
            return await rawdata.download(self._data, path)
        if endpoint.kind in ("raw", "raw_inline"):
            return await self._download(request, path, endpoint.kind == "raw_inline")

        changes = self._data.data_version()

        def reply(data: Any, clock: int) -> tuple[int, Response]:
            """Make the response; runs in the thread that read."""
            if data is None:
                raise RefusedError(404, f"not found: {'/'.join(path)}")
            version = clock if changes is None else changes
            validator = self._validator(announced, version, clock)
            return version, compressed(request, self._reply(endpoint, data, clock, validator, as_json))

        version, response = await self._data.read(options, path, reply)
        self._answers.put(key, version, response)
        return response

    async def _download(self, request: Request, path: tuple[str, ...], inline: bool) -> Response:
        log, clock = await self._data.read({}, path, lambda log, clock: (log, clock))
        if log is None:
            raise RefusedError(404, f"not found: {'/'.join(path)}")
        response = await rawlog.download(self._data, request, log, inline)
        if not log["complete"]:
            # The log may grow while it is sent.
            return response.with_headers((CLOCK_HEADER, str(clock)), ("Cache-Control", "no-cache"))
        return response.with_headers(*self._headers(clock, self._validator(True, 0, clock)))

    def _locks(self) -> dict[str, Any]:
        """The locks of this master; they are not in the database, so they have no clock."""
        found = self._data.locks()
        return {"locks": found, "meta": {"total": len(found)}}

    async def _search(self, request: Request, path: tuple[str, ...]) -> Response:
        found, clock = await logsearch.search(self._data, path, _parameters(request))
        headers = ((CLOCK_HEADER, str(clock)), ("Cache-Control", "no-cache"))
        return Response(200, (("Content-Type", "application/json; charset=utf-8"), *headers), jsonbody.compact(found))

    def _asked(self, request: Request, path: tuple[str, ...]) -> tuple[Endpoint, dict[str, Any]]:
        endpoint = self._data.endpoint(path)
        options = options_of(_parameters(request), endpoint.compared, endpoint.is_collection)
        self._bound(options, endpoint)
        if endpoint.kind == "single":
            # For one resource they mean nothing; Buildbot ignores them, too.
            for name in ("order", "limit", "offset"):
                options.pop(name, None)
        return endpoint, options

    def _bound(self, options: dict[str, Any], endpoint: Endpoint) -> None:
        """Set a limit for growing collections, which are never sent whole."""
        if not (endpoint.is_collection and endpoint.growing):
            return
        limit = options.setdefault("limit", self._settings.default_limit)
        if limit > self._settings.max_limit:
            raise RefusedError(400, f"limit must not exceed {self._settings.max_limit}; use offset for more")

    def _reply(self, endpoint: Endpoint, data: Any, clock: int, validator: str, as_json: bool) -> Response:
        meta: dict[str, Any] = {}
        if endpoint.is_collection:
            meta = {"clock": clock, "total": getattr(data, "total", len(data))}
            items = list(data)
        else:
            items = [data]
        body = (jsonbody.compact if as_json else jsonbody.pretty)({endpoint.plural: items, "meta": meta})
        content_type = "application/json; charset=utf-8" if as_json else "text/plain; charset=utf-8"
        return Response(200, (("Content-Type", content_type), *self._headers(clock, validator)), body)

    def _headers(self, clock: int, validator: str) -> tuple[tuple[str, str], ...]:
        headers = [(CLOCK_HEADER, str(clock)), ("Vary", "Accept, Accept-Encoding"), ("ETag", validator)]
        if self._settings.json_cache_s:
            expires = formatdate(time.time() + self._settings.json_cache_s, usegmt=True)
            headers += [("Expires", expires), ("Pragma", "no-cache")]
        else:
            headers.append(("Cache-Control", "no-cache"))
        return tuple(headers)

    def _unchanged(self, sent: str | None, validator: str | None, clock: int) -> Response | None:
        """The 304 for a client that sent the validator of the present response."""
        if sent is None or validator is None or validator not in sent:
            return None
        return Response(304, self._headers(clock, validator))

    def _validator(self, announced: bool, version: int, clock: int) -> str:
        return f'W/"{self._process}-{clock}"' if announced else f'W/"{self._process}-v{version}"'


def _parameters(request: Request) -> list[tuple[str, str]]:
    try:
        return request.parameters()
    except ValueError as error:
        raise RefusedError(400, str(error))


_NONE: frozenset[str] = frozenset()


def error_response(error: Exception) -> Response:
    """An error of GET: JSON as text/plain, as clients of Buildbot get it."""
    problem = problem_of(error)
    body = jsonbody.compact({"error": problem.text})
    return Response.text(problem.status, body)
