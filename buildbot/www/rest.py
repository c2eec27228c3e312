"""REST v2: a GET of a path of the Data API, as JSON, with the clock at which it was true (http-api 1 to 3)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from buildbot.resources import RESOURCES
from buildbot.resources.base import Resource
from buildbot.www import jsonbody, rawlog
from buildbot.www.compression import compressed
from buildbot.www.errors import RefusedError, problem_of
from buildbot.www.messages import Request, Response
from buildbot.www.query import options_of
from buildbot.www.settings import Settings

CLOCK_HEADER = "X-Tenfold-Clock"


class Endpoint(Protocol):
    """What the Data API says about a path."""

    plural: str
    is_collection: bool
    kind: str
    growing: bool
    fields: Mapping[str, str]
    resource: Resource | None


class Data(Protocol):
    """The part of the Data API that GET needs."""

    def endpoint(self, path: tuple[str, ...]) -> Endpoint:
        """Facts about a path; InvalidPathError if there is none."""

    def snapshot(self, options: dict[str, Any], path: tuple[Any, ...]) -> Deferred[tuple[Any, int]]:
        """Data and the clock at which it was true."""

    def get(self, options: dict[str, Any], path: tuple[Any, ...]) -> Deferred[Any]:
        """Data."""


class RestApi:
    """Answers GET and HEAD below ``/api/v2``.

    A validator (``ETag``) is the clock: while it stands still nothing that is announced has changed, so a
    client that has the reply of this clock is answered 304 without a query. It is offered where every change is
    announced, and it names this process, so that a database restored or made anew never meets an old validator.

    Args:
        data: the Data API.
        settings: limits and caching.
        clock: the number of the newest event this master knows of, or None if it cannot tell.
    """

    def __init__(self, data: Data, settings: Settings, clock: Callable[[], int | None]) -> None:
        self._data = data
        self._settings = settings
        self._clock = clock
        self._process = secrets.token_hex(4)

    async def handle(self, request: Request, path: tuple[str, ...]) -> Response:
        """The reply to a GET or HEAD of ``path``, errors included."""
        try:
            return await self._get(request, path)
        except Exception as error:
            return error_response(error)

    async def _get(self, request: Request, path: tuple[str, ...]) -> Response:
        endpoint = self._data.endpoint(path)
        try:
            parameters = request.parameters()
        except ValueError as error:
            raise RefusedError(400, str(error))
        options = options_of(parameters, endpoint.fields, endpoint.is_collection)
        self._bound(options, endpoint)
        if endpoint.kind == "single":
            # They mean nothing for one resource and have never been an error (http-api 3.1).
            for name in ("order", "limit", "offset"):
                options.pop(name, None)
        if endpoint.kind in ("raw", "raw_inline"):
            return await rawlog.download(self._data, path, inline=endpoint.kind == "raw_inline")

        validated = endpoint.plural in _ANNOUNCED and "expand" not in options
        if validated and self._is_current(request):
            clock = self._clock()
            return Response(304, self._headers(clock, validated))
        data, clock = await self._data.snapshot(options, path)
        if data is None:
            raise RefusedError(404, f"not found: {'/'.join(path)}")
        if endpoint.resource is not None:
            drop_links(endpoint.resource, data if endpoint.is_collection else [data], options.get("expand", ()))
        return self._reply(request, endpoint, data, clock, validated)

    def _bound(self, options: dict[str, Any], endpoint: Endpoint) -> None:
        """Growing collections are never sent without a bound (readings, HTTP and existing clients)."""
        if not (endpoint.is_collection and endpoint.growing):
            return
        limit = options.setdefault("limit", self._settings.default_limit)
        if limit > self._settings.max_limit:
            raise RefusedError(400, f"limit must not exceed {self._settings.max_limit}; use offset for more")

    def _reply(self, request: Request, endpoint: Endpoint, data: Any, clock: int, validated: bool) -> Response:
        meta: dict[str, Any] = {}
        if endpoint.is_collection:
            meta = {"clock": clock, "total": getattr(data, "total", len(data))}
            items = list(data)
        else:
            items = [data]
        as_json = "application/json" in (request.header("accept") or "")
        body = (jsonbody.compact if as_json else jsonbody.pretty)({endpoint.plural: items, "meta": meta})
        content_type = "application/json; charset=utf-8" if as_json else "text/plain; charset=utf-8"
        response = Response(200, (("Content-Type", content_type), *self._headers(clock, validated)), body)
        return compressed(request, response)

    def _headers(self, clock: int | None, validated: bool) -> tuple[tuple[str, str], ...]:
        headers = [(CLOCK_HEADER, str(clock)), ("Vary", "Accept, Accept-Encoding")]
        if self._settings.json_cache_s:
            expires = formatdate(time.time() + self._settings.json_cache_s, usegmt=True)
            headers += [("Expires", expires), ("Pragma", "no-cache")]
        else:
            headers.append(("Cache-Control", "no-cache"))
        if validated:
            headers.append(("ETag", self._validator(clock)))
        return tuple(headers)

    def _validator(self, clock: int | None) -> str:
        return f'W/"{self._process}-{clock}"'

    def _is_current(self, request: Request) -> bool:
        sent = request.header("if-none-match")
        clock = self._clock()
        return sent is not None and clock is not None and self._validator(clock) in sent


#: array keys of nouns whose every change is an event, so that the clock validates them
_ANNOUNCED = frozenset({"builds", "buildsets", "changes", "steps", "logs", "logchunks", "sourcestamps"})


_BY_PLURAL = {resource.plural: resource for resource in RESOURCES}


def drop_links(resource: Resource, items: Iterable[dict[str, Any]], expanded: Iterable[str]) -> None:
    """Take out of ``items`` the links to other resources, which are for Python callers; ``expanded`` ones stay.

    Args:
        expanded: names of links that stand there as resources, with dots for those inside.
    """
    inner: dict[str, list[str]] = {}
    for name in expanded:
        first, _, rest = name.partition(".")
        inner.setdefault(first, []).extend([rest] if rest else [])
    hidden = [name for name in resource.links if name not in resource.fields and name not in inner]
    for item in items:
        for name in hidden:
            item.pop(name, None)
        for name, further in inner.items():
            found = item.get(name)
            if found:
                target = _BY_PLURAL[_target(resource.links[name].path)]
                drop_links(target, found if isinstance(found, list) else [found], further)


def _target(link: str) -> str:
    """The plural of what a link such as ``builds/{buildid}/steps`` or ``workers/{workerid}`` points to."""
    parts = link.split("/")
    return parts[2] if len(parts) > 2 else parts[0]


def error_response(error: Exception) -> Response:
    """An error of GET: JSON text under a plain type, as clients know it (http-api 3.6)."""
    problem = problem_of(error)
    body = jsonbody.compact({"error": problem.text})
    return Response(problem.status, (("Content-Type", "text/plain; charset=utf-8"),), body)
