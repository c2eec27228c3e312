"""The web server as a service of the master: one listening port for all protocols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.logfile import LogFile

from buildbot.data.interfaces import Master
from buildbot.mq.subscription import Subscription
from buildbot.util import tcp
from buildbot.util.metrics import Family, counter, gauge
from buildbot.www.api.jsonrpc import JsonRpc
from buildbot.www.api.openapi import OpenApi
from buildbot.www.api.rest import RestApi
from buildbot.www.app import App, plain_error
from buildbot.www.gate import Gate
from buildbot.www.hooks.receiver import ChangeHooks
from buildbot.www.http.accesslog import AccessLog
from buildbot.www.http.messages import Request, Response
from buildbot.www.http.server import HttpServer
from buildbot.www.login import Login
from buildbot.www.operating import Operating, Requests
from buildbot.www.sessions import SessionConnections
from buildbot.www.settings import make_settings
from buildbot.www.stream.limits import Limits
from buildbot.www.stream.sse import EventStreams
from buildbot.www.ui.pages import Pages

if TYPE_CHECKING:
    from buildbot.www.stream.ws import EventFactory, EventProtocol

_log = Logger()


class WwwServer:
    """The HTTP server of one master.

    Args:
        master: the master, for its data.
        www: ``c['www']`` as a mapping; see ``settings.make_settings``. ``port`` None: nothing listens.
        buildbotURL: ``c['buildbotURL']``, the URL that people use.
        title: ``c['title']``.
        titleURL: ``c['titleURL']``, default ``buildbotURL``.
    """

    def __init__(
        self,
        master: Master,
        www: Mapping[str, Any],
        buildbotURL: str,
        title: str = "Buildbot",
        titleURL: str | None = None,
    ) -> None:
        self.master = master
        self.settings = make_settings(www, buildbotURL, title, titleURL)
        self._www = www
        #: whether the master is starting, so that it cannot act yet
        self.starting = False
        self._app: App | None = None
        self._front: HttpServer | None = None
        self._gate: Gate | None = None
        self._holds = SessionConnections(master.reactor)
        self._limits = Limits(master.reactor)
        # These outlive new settings: open streams, and the counted requests.
        self._streams = EventStreams(master.data, master.reactor, self._holds.hold, self._limits)
        self._requests = Requests()
        self._operating = Operating(master)
        self._ends: Subscription | None = None
        #: makes WebSockets, from the first client on
        self._sockets: EventFactory | None = None
        self._listening: IListeningPort | None = None
        self._access: AccessLog | None = None

    @property
    def port(self) -> int | None:
        """The TCP port it listens on; None if it does not listen, or not on TCP."""
        if self._listening is None:
            return None
        port = getattr(self._listening.getHost(), "port", None)
        return int(port) if port is not None else None

    async def start(self) -> None:
        """Listen. Raises the reactor's error if the address is not available; then nothing is left running."""
        if self.settings.listen is None or self._listening is not None:
            return
        try:
            await self._start(self.settings.listen)
        except BaseException:
            await self.stop()
            raise

    async def _start(self, where: str) -> None:
        reactor = self.master.reactor
        self.master.metrics.add(self.metrics)
        self._app = self._make_app()
        self._gate = self._app.gate
        self._ends = await self.master.mq.startConsuming(self._holds.ended, ("sessions", None, "ended"))
        self._front = HttpServer(reactor, self._handle, plain_error, self)
        self._listening = await tcp.listen(reactor, where, self._front)
        self._access = self._access_log()
        _log.info("the web server listens on {where}", where=self._listening.getHost())

    async def stop(self) -> None:
        """Stop listening, finish the answers in progress, then drop all connections."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await maybeDeferred(listening.stopListening)
        if self._front is not None:
            await self._front.stop()
        if self._sockets is not None:
            self._sockets.stop()
        if self._ends is not None:
            self._ends.stopConsuming()
        if self._app is not None:
            self._app = None
            self.master.metrics.remove(self.metrics)
        if self._access is not None:
            self._access.close()
        self._front = self._sockets = self._gate = self._ends = self._access = None

    async def reconfigure(
        self,
        www: Mapping[str, Any],
        buildbotURL: str,
        title: str = "Buildbot",
        titleURL: str | None = None,
    ) -> None:
        """Take new settings; open connections stay unless the address or the pings changed.

        Raises the reactor's error if the address is not available; then it does not listen, and the same settings try
        it again.
        """
        old, self.settings = self.settings, make_settings(www, buildbotURL, title, titleURL)
        logged, self._www = _logging(self._www), www
        is_closed = self._listening is None
        if is_closed or (old.listen, old.ws_ping_interval_s) != (
            self.settings.listen,
            self.settings.ws_ping_interval_s,
        ):
            await self.stop()
            await self.start()
        elif self._gate is not None:
            self._app = self._make_app()
            if logged != _logging(www):
                before_log, self._access = self._access, self._access_log()
                if before_log is not None:
                    before_log.close()
            before, self._gate = self._gate, self._app.gate
            if self._sockets is not None:
                self._sockets.gate = self._gate
            if self._front is not None and (before.guards_reading or self._gate.guards_reading):
                # Open streams were allowed by the old rules; their clients come back and are checked again.
                self._front.abort_all()

    def client(self) -> EventProtocol:
        """A connection for a client that asks for a WebSocket."""
        if self._sockets is None:
            # not at the top: the library of WebSockets imports another HTTP parser
            from buildbot.www.stream.ws import EventFactory

            assert self._gate is not None
            interval_s = self.settings.ws_ping_interval_s
            self._sockets = EventFactory(self.master.data, self.master.reactor, self._gate, interval_s, self._limits)
            self._sockets.start()
        return self._sockets.client()

    async def _handle(self, request: Request) -> Response:
        assert self._app is not None
        response = await self._requests.count(self._app.handle, request)
        if self._access is not None:
            self._access.add(request, response)
        return response

    def _access_log(self) -> AccessLog | None:
        """The log of requests; None if the master has no directory."""
        basedir = getattr(self.master, "basedir", None)
        if basedir is None:
            return None
        name, length, count = _logging(self._www)
        if not name:
            return AccessLog(self.master.reactor, None)
        rotation = getattr(self.master, "log_rotation", None)
        file = LogFile(
            Path(basedir, name).name,
            str(Path(basedir, name).parent),
            rotateLength=getattr(rotation, "rotateLength", None) if length is None else length,
            maxRotatedFiles=getattr(rotation, "maxRotatedFiles", None) if count is None else count,
            defaultMode=0o640,
        )
        return AccessLog(self.master.reactor, file)

    def metrics(self) -> Iterable[Family]:
        """Requests and connections."""
        yield from self._requests.metrics()
        if self._front is not None:
            doc = "requests refused before they reached a handler"
            yield counter("http_refused", doc, self._front.refused)
            yield gauge("http_connections", "open connections, WebSockets included", len(self._front.connections))
            unsent = self._front.unsent_bytes
            yield gauge("http_unsent_bytes", "bytes of answers that clients have not read yet", unsent)
        sockets = 0 if self._sockets is None else len(self._sockets.protocols)
        clients = {("ws",): sockets, ("sse",): self._streams.clients}
        yield Family("stream_clients", "gauge", "clients that follow events", ("by",), clients)

    def _make_app(self) -> App:
        data, reactor, settings = self.master.data, self.master.reactor, self.settings
        gate = Gate(self.master, settings, self._www, self._holds)
        return App(
            settings,
            gate,
            RestApi(data, settings),
            JsonRpc(data, gate, lambda: self.starting),
            OpenApi(data, settings),
            self._streams,
            Pages(settings, gate, self._www),
            Login(gate, settings.buildbot_url),
            ChangeHooks(
                data,
                self._www,
                reactor,
                self.master.httpservice,
                settings.allows_origin,
                self.master,
                lambda: self.starting,
            ),
            self._operating,
        )


def _logging(www: Mapping[str, Any]) -> tuple[str, int | None, int | None]:
    """The configuration of the log of requests."""
    return www.get("logfileName", "http.log"), www.get("logRotateLength"), www.get("maxRotatedFiles")
