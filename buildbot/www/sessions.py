"""Sessions of visitors: a cookie holds a random token, the database the user.

The token is signed with a key of the installation, so that a forged one costs no query. The database holds only its
hash. A session ends on all masters when the user logs out, and survives their restarts.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from twisted.internet.interfaces import IReactorTime

from buildbot.db.connector import DBConnector
from buildbot.util import clock
from buildbot.www.http.messages import Request

#: the lifetime of a session, unless the configuration sets one
LIFETIME = timedelta(weeks=1)

_COOKIE = "tenfold_session"
_REMEMBERED_ENDS = 1000


@dataclass(frozen=True, slots=True)
class Visitor:
    """The sender of a request.

    Attributes:
        user: the attributes of a user who is logged in; None for other visitors.
        sessionid: the session; None without one.
        expires_at: the end of the session, integer Unix seconds.
    """

    user: Mapping[str, Any] | None = None
    sessionid: int | None = None
    expires_at: int | None = None

    @property
    def owner(self) -> str:
        """The name of the user as owner of builds: e-mail address, else user name, else full name."""
        return owner_of(self.user or {}) or "anonymous"

    @property
    def public(self) -> dict[str, Any]:
        """The attributes of the visitor for pages."""
        return {"anonymous": True} if self.user is None else dict(self.user)


ANONYMOUS = Visitor()


def owner_of(user: Mapping[str, Any]) -> str | None:
    """The name of a user as owner of builds: e-mail address, else user name, else full name; None without any."""
    for name in ("email", "username", "full_name"):
        if user.get(name):
            return str(user[name])
    return None


#: closes a connection when its visitor's session ends; gives a function that cancels that
Hold = Callable[[Visitor, Callable[[], None]], Callable[[], None]]


class Sessions:
    """Begins, finds and ends the sessions of one installation.

    Args:
        db: the master's database connectors.
        realm: the name of the way to log in; sessions of another one do not count.
        secure: whether people reach the server by https, so that cookies must not be sent without it.
        lifetime: of a session.
    """

    def __init__(self, db: DBConnector, realm: str, secure: bool, lifetime: timedelta = LIFETIME) -> None:
        self._db = db
        self._purpose = f"session {realm}"
        self._secure = secure
        self._lifetime_s = int(lifetime.total_seconds())
        self._key: bytes | None = None

    async def sign(self, purpose: str, text: str) -> str:
        """A signature of ``text`` that only masters of this installation can make."""
        if self._key is None:
            state = self._db.state
            objectid = await state.getObjectId("sessions", "buildbot.www.sessions")
            key: str = await state.atomicCreateState(objectid, "key", lambda: secrets.token_hex(32))
            self._key = bytes.fromhex(key)
        digest = hmac.new(self._key, f"{purpose}\0{text}".encode(), sha256).digest()
        return urlsafe_b64encode(digest).decode().rstrip("=")

    async def find(self, request: Request) -> Visitor:
        """The visitor of the session in a request's cookie; anonymous without a valid cookie."""
        if "cookie" not in request.headers:
            return ANONYMOUS
        token, _, signature = cookie(request, self.cookie_name(_COOKIE)).rpartition(".")
        if not token or not hmac.compare_digest(signature.encode(), (await self.sign(self._purpose, token)).encode()):
            return ANONYMOUS
        session = await self._db.sessions.getSession(token)
        if session is None or session["expires_at"] <= self._db.pool.groups.clock.now():
            return ANONYMOUS
        return Visitor(session["user_info"], session["sessionid"], session["expires_at"])

    async def begin(self, user: Mapping[str, Any]) -> tuple[str, str]:
        """Begin a session; gives the header that sets its cookie."""
        token = secrets.token_urlsafe(24)
        await self._db.sessions.addSession(token, user, self._lifetime_s)
        return self.set_cookie(_COOKIE, f"{token}.{await self.sign(self._purpose, token)}", self._lifetime_s)

    async def end(self, visitor: Visitor) -> tuple[str, str]:
        """End the visitor's session, if there is one, on all masters; gives the header that removes the cookie."""
        if visitor.sessionid is not None:
            await self._db.sessions.endSession(visitor.sessionid)
        return self.set_cookie(_COOKIE, "", 0)

    def cookie_name(self, name: str) -> str:
        """The name of a cookie; browsers take one with this prefix only from the host itself, over https."""
        return f"__Host-{name}" if self._secure else name

    def set_cookie(self, name: str, value: str, lifetime_s: int) -> tuple[str, str]:
        """The header that sets a cookie. Scripts cannot read it, and browsers keep it out of other sites' requests."""
        secure = "; Secure" if self._secure else ""
        flags = f"Path=/; Max-Age={lifetime_s}; HttpOnly; SameSite=Lax{secure}"
        return "Set-Cookie", f"{self.cookie_name(name)}={value}; {flags}"


class SessionConnections:
    """Open connections of sessions, which are closed when the session ends.

    Args:
        reactor: for the end of a session's lifetime.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._open: dict[int, set[Callable[[], None]]] = {}
        #: sessions that ended lately: a connection may come after its session has ended
        self._over: deque[int] = deque(maxlen=_REMEMBERED_ENDS)

    def hold(self, visitor: Visitor, close: Callable[[], None]) -> Callable[[], None]:
        """Call ``close`` when the visitor's session ends; the returned function cancels that."""
        sessionid, expires_at = visitor.sessionid, visitor.expires_at
        if sessionid is None or expires_at is None:
            return lambda: None
        held = self._open.setdefault(sessionid, set())
        held.add(close)
        left_s = 0 if sessionid in self._over else max(0, expires_at - clock.now())
        timer = self._reactor.callLater(left_s, close)

        def release() -> None:
            held.discard(close)
            if not held and self._open.get(sessionid) is held:
                del self._open[sessionid]
            if timer.active():
                timer.cancel()

        return release

    def ended(self, key: tuple[str, ...], message: object) -> None:
        """A session has ended, here or on another master (event ``sessions/N/ended``)."""
        sessionid = int(key[1])
        self._over.append(sessionid)
        for close in list(self._open.get(sessionid, ())):
            close()


def cookie(request: Request, name: str) -> str:
    """The value of a cookie, "" if there is none."""
    # Two header lines arrive as one, joined by commas; cookies of this server have no commas.
    for pair in (request.header("cookie") or "").replace(",", ";").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""
