"""The gate: it checks every request before it is answered.

`Gate.admit` finds the visitor of a request and refuses what the rules forbid: reads, events by SSE or WebSocket,
downloads, metrics. Only the roots that are listed here are open to all visitors, so a new protocol is protected, too.
The action of a JSON-RPC call is in its body, so `JsonRpc` asks `Gate.check` when it has read that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from buildbot.config.ports import is_loopback
from buildbot.data.connector import path_of, segments_of
from buildbot.data.interfaces import Master
from buildbot.www.auth import AuthBase, NoAuth
from buildbot.www.authz import Authz
from buildbot.www.authz.access import AccessRequest
from buildbot.www.authz.authz import Right
from buildbot.www.errors import RefusedError
from buildbot.www.http.messages import Request
from buildbot.www.sessions import ANONYMOUS, LIFETIME, SessionConnections, Sessions, Visitor
from buildbot.www.settings import Settings

#: roots that are open to all visitors: the pages' files, the login, hooks (which have secrets of their own)
_OPEN = frozenset(
    {
        "",
        "page",
        "assets",
        "plugins",
        "config",
        "auth",
        "avatar",
        "img",
        "change_hook",
        "callback",
        "health",
        "ready",
        "index.html",
    }
)
#: roots that only this server's pages may request; the API has rules of its own for browsers (``cors``)
_OF_PAGES = frozenset({"auth", "config", "sse", "ws"})
#: values of ``Host`` whose check is remembered: clients use few, and every request is checked
_HOSTS = 16


class Gate:
    """Knows visitors and their rights.

    Args:
        master: the master, whose data it protects.
        settings: of the server.
        www: ``c['www']``, for ``auth``, ``authz`` and ``cookie_expiration_time``.
        holds: connections to close with their sessions.
    """

    def __init__(self, master: Master, settings: Settings, www: Mapping[str, Any], holds: SessionConnections) -> None:
        self.master = master
        self._settings = settings
        self._is_known_as = lru_cache(_HOSTS)(settings.is_known_as)
        configured: AuthBase | None = www.get("auth")
        self.auth: AuthBase = configured or NoAuth()
        self.auth.reconfigAuth(master, getattr(master, "config", None))
        self._authz: Authz = www.get("authz") or Authz()
        secure = urlsplit(settings.buildbot_url).scheme == "https"
        lifetime = www.get("cookie_expiration_time") or LIFETIME
        self.sessions = Sessions(master.db, str(self.auth.getConfigDict()["name"]), secure, lifetime)
        self._holds = holds
        #: without a login only visitors from this machine's loopback are trusted, unless the auth is NoAuth
        self._anonymous_control = is_loopback(settings.listen) if configured is None else isinstance(configured, NoAuth)
        self._authz.attach(master, self._anonymous_control)

    @property
    def guards_reading(self) -> bool:
        """Whether some rule restricts reading."""
        return self._authz.may_guard(AccessRequest(("builds",)))

    @property
    def url(self) -> str:
        """The address of ``/auth/login`` as browsers see it."""
        return f"{self._settings.buildbot_url}auth/login"

    async def sign(self, purpose: str, text: str) -> str:
        """A signature of ``text`` that only this installation can make."""
        return await self.sessions.sign(purpose, text)

    async def visitor(self, request: Request) -> Visitor:
        """The visitor who sent a request."""
        user = await self.auth.visitor(request, self)
        if user is not None:
            return Visitor(user)
        visitor = await self.sessions.find(request)
        return visitor if visitor.user is not None and self.auth.knows(visitor.user) else ANONYMOUS

    async def admit(self, request: Request, segments: tuple[str, ...]) -> Visitor:
        """Check a request; gives its visitor.

        Raises:
            RefusedError: 403, the visitor may not do this, or the Host header is not a name of this server; 400, it is
                from a page of another origin.
        """
        host = request.header("host")
        if host and not self._is_known_as(host) and not _for_services(request, segments):
            raise RefusedError(
                403, f"this server is not known as {host[:200]!r}: add the name to allowed_hosts in c['www']"
            )
        origin = request.header("origin")
        if (
            origin is not None
            and (segments[0] in _OF_PAGES or _is_dashboard(segments))
            and not self._own(request, origin)
        ):
            raise RefusedError(400, "invalid origin")
        visitor = await self.visitor(request)
        # Without rules all visitors may read; every request comes here, so this must be quick.
        asked = asked_by(request, segments) if self._authz.decides or _is_dashboard(segments) else None
        if asked is not None:
            await self.check(visitor, asked)
        return visitor

    async def check(self, visitor: Visitor, asked: AccessRequest) -> None:
        """Raise an error if the visitor may not do this.

        Raises:
            RefusedError: 403.
        """
        await self._authz.check(visitor, asked, self.master.data, self._anonymous_control)

    async def rights(self, visitor: Visitor) -> dict[str, Right]:
        """The rights of the visitor by action, for the controls that pages offer."""
        return await self._authz.rights(visitor, self.master.data, self._anonymous_control)

    def hold(self, visitor: Visitor, close: Callable[[], None]) -> Callable[[], None]:
        """Close a connection when its visitor's session ends; the returned function cancels that."""
        return self._holds.hold(visitor, close)

    def _own(self, request: Request, origin: str) -> bool:
        # A page of this server may have been opened under another name than buildbotURL's; it may read.
        return self._settings.allows_origin(origin) or urlsplit(origin).netloc == request.header("host")


def asked_by(request: Request, segments: tuple[str, ...]) -> AccessRequest | None:
    """The access that a request needs; None for open roots, and for calls whose body names the action."""
    root, rest = segments[0], segments[1:]
    if root == "api":
        if request.method not in ("GET", "HEAD") or not rest:
            return None
        return AccessRequest(rest[1:], linked=_expands(request))
    if root == "ws":
        # A visitor without any right to read needs no connection; each subscription is checked, too.
        return AccessRequest(("masters",))
    if root == "sse":
        path = rest[:-1] if rest and rest[-1] == "" else rest
        skipped = 2 if path[:1] in (("add",), ("remove",)) else 1 if path[:1] == ("listen",) else 0
        return follows(path_of(path[skipped:])) if path[skipped:] else AccessRequest(("masters",))
    if segments[:2] == ("plugins", "badges") and len(segments) > 2:
        return AccessRequest(("builders", "/".join(rest[1:]).rpartition(".")[0], "builds"))
    if _is_dashboard(segments):
        # It may show any build, and it is unknown what it does with a form.
        reads = request.method in ("GET", "HEAD")
        return AccessRequest(("builds",)) if reads else AccessRequest(segments[:3], "act")
    if root in _OPEN or (not rest and "." in root):
        return None
    return AccessRequest(segments)


def _is_dashboard(segments: tuple[str, ...]) -> bool:
    """Whether a path is a dashboard's, not one of the files that show it."""
    return segments[:2] == ("plugins", "wsgi_dashboards") and len(segments) > 3


def _for_services(request: Request, segments: tuple[str, ...]) -> bool:
    """Whether a path is for services, which may use any name of the server and learn nothing secret."""
    return segments in (("health",), ("ready",)) or (
        segments[0] in ("change_hook", "callback") and request.method == "POST"
    )


def follows(path: str) -> AccessRequest:
    """The access that following a path needs."""
    return AccessRequest(segments_of(path), "follow")


def _expands(request: Request) -> bool:
    try:
        return any(name == "expand" for name, _ in request.parameters())
    except ValueError:
        return True
