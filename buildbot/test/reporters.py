"""Reporters in tests: a master in memory whose builds begin and end as the test says, and a server that remembers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.web.resource import Resource

from buildbot.config.master import MasterConfig
from buildbot.process.service import BuildbotService
from buildbot.process.servicemanager import ServiceManager
from buildbot.reporters.delivery import deliveries_of
from buildbot.test.fake.fakedb import make_master
from buildbot.test.running import until
from buildbot.util.httpclient import HttpClient
from buildbot.util.results import SUCCESS

#: the source stamp of builds
STAMP = {
    "branch": "main",
    "revision": "1a2b3c",
    "repository": "https://example.org/acme/widget.git",
    "project": "acme/widget",
    "codebase": "",
}


class HttpRecorder(Resource):
    """A server that answers every request with ``answer(request)`` and remembers it.

    Attributes:
        requests: what came: dictionaries with ``method``, ``url``, ``headers`` (names in lower case), ``body`` (bytes)
            and ``json`` (None if it is none).
        answer: gets Twisted's request; returns bytes, or (status, bytes), or (status, bytes, headers).
    """

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any] = lambda request: b"{}") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answer = answer
        self.requests: list[dict[str, Any]] = []

    def render(self, request: Any) -> Any:
        """Any method."""
        body = request.content.read()
        headers = {
            name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()
        }
        scheme = "https" if request.isSecure() else "http"
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        self.requests.append({
            "method": request.method.decode(), "url": f"{scheme}://{headers.get('host')}{request.uri.decode()}",
            "headers": headers, "body": body, "json": content,
        })  # fmt: skip
        answer = self.answer(request)
        if isinstance(answer, tuple):
            request.setResponseCode(answer[0])
            for name, value in (answer[2] if len(answer) > 2 else {}).items():
                request.setHeader(name, value)
            answer = answer[1]
        return answer

    def client(self, reactor: Any) -> HttpClient:
        """A client whose requests all come here, without a socket."""
        return HttpClient(reactor, RequestTraversalAgent(self))  # type: ignore[no-untyped-call]


class ReporterHarness:
    """Services, such as reporters, on a master in memory.

    Args:
        services: start with the harness.
        server: gets all HTTP requests.
        reactor: Twisted's unless given; a ``Clock`` moves the time.
        master: another one, to go on with what it knows.
        config: further attributes of the configuration.
    """

    def __init__(
        self,
        *services: BuildbotService,
        server: HttpRecorder | None = None,
        reactor: Any = None,
        master: Any = None,
        **config: Any,
    ) -> None:
        self.services = services
        self.server = server or HttpRecorder()
        made: Any = make_master(reactor) if master is None else master
        self.master = made
        self.master.config = MasterConfig(Path(), **{"title": "Widget CI", "buildbotURL": "https://ci/", **config})
        self.master._http = self.server.client(self.master.reactor)
        self.manager = ServiceManager(self.master)
        self.master.service_manager = self.manager
        self.master.namedServices = {}

    async def start(self) -> None:
        """Start the services."""
        await self.manager.startService()
        await self.manager.configure(self.services)

    async def stop(self) -> None:
        """Stop them."""
        await self.manager.stopService()

    async def request(
        self, builder: str = "b one", stamps: Sequence[dict[str, Any]] = (STAMP,), **buildset: Any
    ) -> int:
        """A build request; its id."""
        await self.master.data.update.findBuilderId(builder)
        properties = {"scheduler": ("all", "Scheduler"), **buildset.pop("properties", {})}
        _, brids = await self.master.data.update.addBuildset(
            **{
                "sourcestamps": list(stamps), "builderNames": [builder], "reason": "why not", "properties": properties,
                **buildset,
            }
        )  # fmt: skip
        brid: int = brids[builder]
        return brid

    async def begin(self, brid: int) -> int:
        """The build of a request begins; its id."""
        update = self.master.data.update
        await update.claimBuildRequests([brid])
        buildid: int = await update.newBuild(brid, workerid=await update.findWorkerId("w"))
        return buildid

    async def end(self, buildid: int, results: int = SUCCESS, text: str = "build successful") -> None:
        """A build ends, and with it its request and buildset."""
        update = self.master.data.update
        build = await self.master.data.get({}, ("builds", buildid))
        await update.setBuildStateString(buildid, text)
        await update.finishBuild(buildid, results)
        await update.completeBuildRequests([build["buildrequestid"]], results)

    async def build(
        self, results: int = SUCCESS, builder: str = "b one", text: str = "build successful", **more: Any
    ) -> int:
        """A whole build; its id."""
        buildid = await self.begin(await self.request(builder, **more))
        await self.end(buildid, results, text)
        return buildid

    def waiting(self) -> int:
        """How many events the reporters have not dealt with."""
        return sum(queue.waiting for queue in deliveries_of(self.master).queues.values())

    async def idle(self) -> None:
        """Wait until all reporters have heard of everything and dealt with it."""

        async def done() -> bool:
            clock = await self.master.data.clock()
            queues = deliveries_of(self.master).queues.values()
            return self.waiting() == 0 and all(queue.position >= clock for queue in queues)

        await until(done)

    async def arrived(self, number: int) -> list[dict[str, Any]]:
        """Wait for a number of HTTP requests; return the requests that came."""

        async def enough() -> bool:
            return len(self.server.requests) >= number

        await until(enough)
        return self.server.requests


__all__ = ["STAMP", "HttpRecorder", "ReporterHarness"]
