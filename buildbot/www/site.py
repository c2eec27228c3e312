"""The service that the master starts: one listening port with every way in behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet import endpoints
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from buildbot.interfaces import Master
from buildbot.www.app import App
from buildbot.www.front import Front
from buildbot.www.jsonrpc import JsonRpc
from buildbot.www.messages import Request, Response
from buildbot.www.rest import RestApi
from buildbot.www.settings import Settings, make_settings
from buildbot.www.sse import EventStreams
from buildbot.www.static import StaticFiles
from buildbot.www.ws import EventFactory

_log = Logger()
_server_from_string: Any = endpoints.serverFromString  # has no types


class WwwServer:
    """The HTTP server of one master.

    Args:
        master: whose data it serves.
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
        self._files = StaticFiles()
        self._app: App | None = None
        self._front: Front | None = None
        self._sockets: EventFactory | None = None
        self._listening: Any = None

    @property
    def port(self) -> int | None:
        """The TCP port it listens on; None if it does not listen, or not on TCP."""
        if self._listening is None:
            return None
        port = getattr(self._listening.getHost(), "port", None)
        return int(port) if port is not None else None

    async def start(self) -> None:
        """Listen. An address in use or not available is the reactor's error, and nothing is left running."""
        if self.settings.listen is None or self._listening is not None:
            return
        reactor = self.master.reactor
        self._app = self._make_app(self.settings)
        self._sockets = EventFactory(self.master.data, reactor, self.settings.ws_ping_interval_s)
        self._front = Front(reactor, self._handle, self._sockets)
        endpoint: Any = _server_from_string(reactor, self.settings.listen)
        self._listening = await endpoint.listen(self._front)
        self._sockets.start()
        _log.info("the web server listens on {where}", where=self._listening.getHost())

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await maybeDeferred(listening.stopListening)
        if self._front is not None:
            self._front.abort_connections()
        if self._sockets is not None:
            self._sockets.stop()
        self._front = self._sockets = None

    async def reconfigure(
        self,
        www: Mapping[str, Any],
        buildbotURL: str,
        title: str = "Buildbot",
        titleURL: str | None = None,
    ) -> None:
        """Take new settings; open connections stay unless the address or the pings changed."""
        old, self.settings = self.settings, make_settings(www, buildbotURL, title, titleURL)
        if (old.listen, old.ws_ping_interval_s) != (self.settings.listen, self.settings.ws_ping_interval_s):
            await self.stop()
            await self.start()
        else:
            self._app = self._make_app(self.settings)

    async def _handle(self, request: Request) -> Response:
        assert self._app is not None
        return await self._app.handle(request)

    def _make_app(self, settings: Settings) -> App:
        data, reactor = self.master.data, self.master.reactor
        return App(
            settings,
            RestApi(data, settings, self._clock),
            JsonRpc(data),
            EventStreams(data, reactor),
            self._files,
        )

    def _clock(self) -> int:
        position: int = self.master.mq.tail.position
        return position
