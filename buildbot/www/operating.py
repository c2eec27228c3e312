"""``/metrics``, ``/health`` and ``/ready``, for the operation of a master (docs/operating.md)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.defer import CancelledError

from buildbot.data.interfaces import Master
from buildbot.util.metrics import Family, Histogram
from buildbot.util.singleflight import SingleFlight, TimeoutError
from buildbot.www import jsonbody
from buildbot.www.http.messages import Request, Response

#: seconds for which an answer of ``/ready`` is kept, and seconds to wait for the database
KEEP_S = 1.0
WAIT_S = 2.0
#: a master whose next event has waited longer than this is not ready
MAX_LAG_S = 10

_JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


class Requests:
    """Counts requests, and the time until their answers begin."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._seconds: dict[tuple[str, ...], Histogram] = {}

    async def count(self, handler: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        """Call the handler; gives its response."""
        begin = time.perf_counter()
        status = "500"
        try:
            response = await handler(request)
            status = str(response.status)
            return response
        except CancelledError:
            status = "closed"  # the client closed the connection
            raise
        finally:
            what = _class_of(request)
            key = what, status
            self._counts[key] = self._counts.get(key, 0) + 1
            seconds = self._seconds.get((what,))
            if seconds is None:
                seconds = self._seconds[what,] = Histogram()
            seconds.observe(time.perf_counter() - begin)

    def metrics(self) -> Iterable[Family]:
        """The numbers by class of the path, and status."""
        doc = "requests that were answered, by class of the path and status"
        yield Family("http_requests", "counter", doc, ("path", "status"), self._counts)
        doc = "until an answer began, by class of the path"
        yield Family("http_request_seconds", "histogram", doc, ("path",), self._seconds)


_CLASSES = frozenset({"api", "sse", "auth", "callback", "change_hook", "metrics", "health", "ready"})


def _class_of(request: Request) -> str:
    """The class of a path: one of few words, so that clients cannot add numbers without bound."""
    root = request.path[1:].partition("/")[0]
    if root == "api":
        return "control" if request.method == "POST" else "api"
    return root if root in _CLASSES else "page"


class Operating:
    """Answers GET of the three.

    Args:
        master: the master.
    """

    def __init__(self, master: Master) -> None:
        self._master = master
        self._reasons = SingleFlight(self._look, master.reactor, KEEP_S, WAIT_S)

    async def handle(self, what: str) -> Response:
        """The reply to ``/metrics``, ``/health`` or ``/ready``."""
        if what == "metrics":
            return await self._metrics()
        if what == "health":
            # An answer means that the reactor runs.
            return Response(200, _JSON, jsonbody.compact({"healthy": True}))
        return await self._ready()

    async def _metrics(self) -> Response:
        # not at the top: it imports the client of Prometheus, which brings a server of its own
        from buildbot.www import exposition

        body = exposition.text_of(await self._master.metrics.families())
        return Response(200, (("Content-Type", exposition.CONTENT_TYPE), ("Cache-Control", "no-store")), body)

    async def _ready(self) -> Response:
        try:
            reason = await self._reasons.get()
        except TimeoutError:
            reason = f"the database has not answered for {WAIT_S:g} s"
        body = jsonbody.compact({"ready": reason is None, "reason": reason})
        return Response(200 if reason is None else 503, _JSON, body)

    async def _look(self) -> str | None:
        """Why the master cannot do its work, or None; without details that only administrators should know."""
        master = self._master
        try:
            if not await master.db.model.is_current():
                return "the database's schema is not the one that this version needs"
            known = await master.db.masters.getMaster(master.masterid)
            if known is None or not known["active"]:
                return "this master is not active: it starts, ends, or was declared dead"
            waiting_s = await master.mq.behind()
        except Exception:
            return "the database cannot be read"
        if master.is_late():
            return "this master has not been able to check in for a while"
        if master.db.pool.groups.unwritable is not None:  # until the next write: a master checks in regularly
            return "the database cannot be written"
        if waiting_s > MAX_LAG_S:
            return f"events have been waiting to be delivered for {waiting_s} s"
        return None
