"""Users' dashboards inside the page: WSGI applications, such as those of Flask.

Each is mounted at ``/plugins/wsgi_dashboards/NAME/`` and runs in threads, a few requests at a time for all dashboards,
so that a slow one delays neither the master nor the page. Its attribute ``buildbot_api`` gives it data.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO, TextIOBase
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import blockingCallFromThread, deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.config.dashboards import check_dashboards
from buildbot.data.interfaces import Master
from buildbot.util.fairqueue import FairQueue, QueueFullError
from buildbot.www.http.messages import Request, Response
from buildbot.www.sessions import Visitor

_log = Logger()

NAME = "wsgi_dashboards"
#: requests that run at once, and requests of one address that may run or wait
_AT_ONCE = 4
_PLACES = 20
#: seconds that a visitor waits for an answer
PATIENCE_S = 60
_MOST_BYTES = 64 * 1024 * 1024
#: headers about the connection, which applications must not set
_OF_CONNECTION = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"})


class Filter(Protocol):
    """A filter of a dashboard's question."""

    field: str
    op: str
    values: Iterable[object]


class DashboardApi:
    """The master's data for an application, as its attribute ``buildbot_api``.

    Args:
        master: the master.
    """

    def __init__(self, master: Master) -> None:
        self.master = master

    def dataGet(
        self,
        path: str | Sequence[str | int],
        filters: Mapping[str, Any] | Iterable[Filter] | None = None,
        fields: str | Sequence[str] | None = None,
        order: str | Sequence[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Any:
        """Wait for data, as ``master.data.get`` gives it: a dictionary, a list of them, or None.

        Args:
            path: ``"/builders/1"`` or ``("builders", 1)``.
            filters: a dictionary as ``master.data.get`` takes it, ``{"complete": True, "number__gt": 3}``, or a list of
                objects with ``field``, ``op`` and ``values``.
            fields, order: names, one or a list of them.
            limit, offset: the part of a list.

        Raises:
            DataException: there is no such path, or an option is wrong.
        """
        parts = tuple(path.strip("/").split("/")) if isinstance(path, str) else tuple(path)
        options = {
            "filters": _filters(filters),
            "fields": [fields] if isinstance(fields, str) else fields,
            "order": [order] if isinstance(order, str) else order,
            "limit": limit,
            "offset": offset,
        }
        given = {name: value for name, value in options.items() if value}
        return blockingCallFromThread(self.master.reactor, self.master.data.get, given, parts)


def _filters(given: Mapping[str, Any] | Iterable[Filter] | None) -> Mapping[str, Any] | None:
    if given is None or isinstance(given, Mapping):
        return given
    return {f"{each.field}__{each.op}": list(each.values) for each in given}


class Dashboards:
    """Answers ``/plugins/wsgi_dashboards/NAME/…``.

    Args:
        master: the master, for the applications' data.
        dashboards: ``c['www']['plugins']['wsgi_dashboards']``.
        home: ``buildbotURL``.
        debug: whether a page shows why an application failed.
    """

    def __init__(self, master: Master, dashboards: object, home: str, debug: bool = False) -> None:
        self._master = master
        self._home = urlsplit(home)
        self._debug = debug
        self._queue = FairQueue(_AT_ONCE, _PLACES)
        self._apps: dict[str, Any] = {each["name"]: each["app"] for each in check_dashboards(dashboards)}
        for app in self._apps.values():
            app.buildbot_api = DashboardApi(master)

    def has(self, name: str) -> bool:
        """Whether there is a dashboard of this name."""
        return name in self._apps

    async def handle(self, request: Request, name: str, visitor: Visitor) -> Response:
        """The response of a dashboard."""
        running: Deferred[Response] = ensureDeferred(self._answer(request, name, visitor))
        try:
            return await _within(self._master.reactor, running, PATIENCE_S)
        except TimeoutError:
            _log.error("dashboard {name}: no answer after {seconds} s", name=name, seconds=PATIENCE_S)
            return Response.text(504, f"The dashboard {name} has not answered for {PATIENCE_S} seconds")

    async def _answer(self, request: Request, name: str, visitor: Visitor) -> Response:
        app, environ = self._apps[name], self._environ(request, name, visitor)
        reactor = self._master.reactor

        async def run() -> Response:
            return await deferToThreadPool(reactor, reactor.getThreadPool(), _run, app, environ)

        try:
            with self._queue.place(request.client):
                return await self._queue.run(request.client, run)
        except QueueFullError:
            return Response.text(429, "Too many requests from your address wait for dashboards; try again later")
        except Exception as problem:
            _log.failure("dashboard {name} failed", name=name)
            why = "".join(traceback.format_exception(problem)) if self._debug else "The log says more."
            return Response.text(500, f"The dashboard {name} failed. {why}")

    def _environ(self, request: Request, name: str, visitor: Visitor) -> dict[str, Any]:
        mount = f"/plugins/{NAME}/{name}"
        # In WSGI the bytes of a path are characters.
        path = unquote_to_bytes(request.path).decode("latin-1")[len(mount) :]
        host, _, port = (request.header("host") or self._home.netloc).rpartition(":")
        https = self._home.scheme == "https"
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": self._home.path.rstrip("/") + mount,
            "PATH_INFO": path,
            "QUERY_STRING": request.query,
            "CONTENT_TYPE": request.header("content-type") or "",
            "CONTENT_LENGTH": str(len(request.body)),
            "SERVER_NAME": host or port,
            "SERVER_PORT": port if host and port.isdigit() else "443" if https else "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": request.client,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": self._home.scheme,
            "wsgi.input": BytesIO(request.body),
            "wsgi.errors": _Errors(name),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for header, value in request.headers.items():
            # The application would take a name with an underscore for another header's.
            if header not in ("content-type", "content-length", "proxy") and "_" not in header:
                environ["HTTP_" + header.upper().replace("-", "_")] = value
        if visitor.user is not None:
            environ["REMOTE_USER"] = visitor.owner
        return environ


class _Errors(TextIOBase):
    """The error stream of an application: the master's log."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def write(self, text: str) -> int:
        """Log a text."""
        if text.strip():
            _log.error("dashboard {name}: {text}", name=self._name, text=text.rstrip())
        return len(text)


def _run(app: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> Response:
    """Run an application; gives its response; in a thread."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:
        if started and exc_info is None:
            raise RuntimeError("start_response was called twice")
        started[:] = [(status, headers)]
        return written.append

    chunks = app(environ, start_response)
    size = 0
    try:
        for chunk in chunks:
            written.append(chunk)
            size += len(chunk)
            if size > _MOST_BYTES:
                raise RuntimeError(f"an answer has more than {_MOST_BYTES} bytes")
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    if not started:
        raise RuntimeError("the application has not called start_response")
    status, headers = started[0]
    for header, value in headers:
        if not header.isascii() or not (header + value).isprintable():
            raise RuntimeError(f"the header {header!r} holds characters that no header may hold")
    kept = tuple((header, value) for header, value in headers if header.lower() not in _OF_CONNECTION)
    return Response(int(status[:3]), kept, b"".join(written))


def _within(reactor: IReactorTime, running: Deferred[Response], seconds: float) -> Deferred[Response]:
    """The result of ``running``, or TimeoutError; the thread goes on, since no thread can be stopped."""
    result: Deferred[Response] = Deferred()

    def late() -> None:
        result.errback(TimeoutError())

    timer = reactor.callLater(seconds, late)

    def done(outcome: Response | Failure) -> None:
        if timer.active():
            timer.cancel()
            if isinstance(outcome, Response):
                result.callback(outcome)
            else:
                result.errback(outcome)

    running.addBoth(done)
    return result
