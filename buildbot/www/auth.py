"""Ways to find out who a visitor is: ``c['www']['auth']``.

An auth does one of two things. Most have ``login``, which answers ``/auth/login`` until it knows the visitor; a
session then remembers. `RemoteUserAuth` has ``visitor`` instead: each request says by itself who sent it.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from buildbot.config.errors import error
from buildbot.util.deferreds import resolved
from buildbot.util.fairqueue import FairQueue, QueueFullError
from buildbot.util.guessing import Guesses, TooManyGuessesError
from buildbot.util.passwords import check_passwd
from buildbot.www import htpasswd
from buildbot.www.http.messages import Request, Response
from buildbot.www.sessions import Sessions

_log = Logger()

#: what is known about a user: ``username``, ``email``, ``full_name``, ``groups``, …; JSON values
UserInfo = dict[str, Any]

_REMEMBERED_USERS = 1000
_REMEMBERED_S = 300.0


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The end of a login: who it is, and the part of the page to go back to."""

    user: UserInfo
    redirect: str


class LoginContext(Protocol):
    """What an auth may ask of the place where people log in."""

    @property
    def master(self) -> Any:
        """The master, for its reactor and users."""

    @property
    def url(self) -> str:
        """The address of ``/auth/login`` as browsers see it."""

    @property
    def sessions(self) -> Sessions:
        """How cookies are set."""

    async def sign(self, purpose: str, text: str) -> str:
        """A signature of ``text`` that only this installation can make."""


class UserInfoProviderBase:
    """Says more about a user whose name is known; derive from it and override ``getUserInfo``."""

    name = "noinfo"

    def getUserInfo(self, username: str) -> Any:
        """A dictionary with ``email``, ``full_name``, ``groups`` or what else there is; may be a coroutine."""
        return {"email": username}


class AuthBase:
    """What ways to log in have in common.

    Args:
        userInfoProvider: asked for more about users once their names are known.
    """

    def __init__(self, userInfoProvider: UserInfoProviderBase | None = None) -> None:
        self.userInfoProvider = userInfoProvider or UserInfoProviderBase()

    def getConfigDict(self) -> dict[str, Any]:
        """What pages are told: ``name``, and for OAuth2 more."""
        return {"name": type(self).__name__}

    async def visitor(self, request: Request, desk: LoginContext) -> UserInfo | None:
        """Who the request itself says has sent it; None if that is left to sessions."""
        return None

    def knows(self, user: Mapping[str, Any]) -> bool:
        """Whether a session of this user still counts."""
        return True

    async def login(self, request: Request, desk: LoginContext) -> LoggedIn | Response:
        """One step of a login: its end, or what to answer meanwhile."""
        return Response.text(404, "There is no login here")

    async def _described(self, user: Mapping[str, Any]) -> UserInfo:
        return {**user, **(await resolved(self.userInfoProvider.getUserInfo(user["username"])) or {})}


class NoAuth(AuthBase):
    """Nobody logs in, and everybody may control: for a network in which everybody is trusted."""


class PasswordAuth(AuthBase):
    """Asks for a name and a password by HTTP Basic."""

    def __init__(self, userInfoProvider: UserInfoProviderBase | None = None) -> None:
        super().__init__(userInfoProvider)
        self._checks = FairQueue()
        self._guesses: Guesses | None = None

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """Whether this is the user's password."""
        raise NotImplementedError

    async def login(self, request: Request, desk: LoginContext) -> LoggedIn | Response:
        """As ``AuthBase.login``."""
        given = basic_credentials(request)
        if given is not None:
            try:
                right = await self._is_right(request.client, given, desk)
            except (TooManyGuessesError, QueueFullError):
                _log.info("login refused: too many from {address} wait", address=request.client)
                return Response.text(429, "Too many logins from your address wait; try again later").with_headers(
                    ("Retry-After", "10")
                )
            if right:
                redirect = dict(request.parameters()).get("redirect", "")
                return LoggedIn(await self._described({"username": given[0]}), redirect)
            _log.info(
                "login from {address} failed: wrong password or unknown user {name!r}",
                address=request.client,
                name=given[0][:100],
            )
        challenge = ("WWW-Authenticate", 'Basic realm="buildbot", charset="UTF-8"')
        return Response.text(401, "Unauthorized").with_headers(challenge)

    async def _is_right(self, address: str, given: tuple[str, str], desk: LoginContext) -> bool:
        """The verdict on a password, when it is the turn of its address."""
        if self._guesses is None:
            self._guesses = Guesses(desk.master.reactor)
        guesses, name = self._guesses, given[0][:200]

        async def check() -> bool:
            return bool(await self.check(*given, desk))

        # Whoever waits because of wrong passwords holds a place of its address meanwhile, but no thread.
        with self._checks.place(address):
            await guesses.turn(address, name)
            right = await self._checks.run(address, check)
        (guesses.right if right else guesses.wrong)(address, name)
        return right


class UserPasswordAuth(PasswordAuth):
    """Users and passwords in the configuration.

    Args:
        users: dictionary of name to password, or a list of such pairs.
    """

    def __init__(
        self,
        users: Mapping[str, str | bytes] | Mapping[bytes, str | bytes] | Iterable[tuple[str | bytes, str | bytes]],
        userInfoProvider: UserInfoProviderBase | None = None,
    ) -> None:
        super().__init__(userInfoProvider)
        try:
            self._users = {_bytes(name): _bytes(password) for name, password in dict(users).items()}
        except (TypeError, ValueError, AttributeError):
            error("UserPasswordAuth: users must be a dictionary of name to password, or a list of pairs, all text")
            self._users = {}

    def knows(self, user: Mapping[str, Any]) -> bool:
        """As ``AuthBase.knows``: whoever is taken out of the configuration is out."""
        return _bytes(user["username"]) in self._users

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """As ``PasswordAuth.check``."""
        expected = self._users.get(username.encode())
        # An unknown name takes as long as a wrong password.
        same = hmac.compare_digest(expected if expected is not None else b"", password.encode())
        return same and expected is not None


class HTPasswdAuth(PasswordAuth):
    """Users and passwords in a file that Apache's ``htpasswd`` keeps: bcrypt, ``apr1`` or ``{SHA}``.

    Args:
        passwdFile: its path; read at every login, so that changes count at once.
    """

    def __init__(self, passwdFile: str, userInfoProvider: UserInfoProviderBase | None = None) -> None:
        super().__init__(userInfoProvider)
        # while a configuration is loaded, relative means relative to its directory
        self.path = Path(passwdFile).absolute()
        if not self.path.is_file():
            error(f"HTPasswdAuth: there is no file {passwdFile!r}")

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """As ``PasswordAuth.check``."""
        try:
            return bool(await _in_thread(desk, htpasswd.check, self.path, username, password))
        except OSError as problem:
            _log.error("login: {path} cannot be read: {reason}", path=self.path, reason=problem.strerror)
            return False


class UsersAuth(PasswordAuth):
    """Users and passwords in the database, as ``buildbot user`` keeps them."""

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """As ``PasswordAuth.check``."""
        try:
            user = await desk.master.db.users.getUserByUsername(username)
        except ValueError:  # no text that a name can be
            return False
        stored = (user or {}).get("bb_password") or ""
        return bool(await _in_thread(desk, check_passwd, password, stored))


class CustomAuth(PasswordAuth):
    """Derive from it and override ``check_credentials``."""

    def check_credentials(self, username: str, password: str) -> Any:
        """Whether this is the user's password; may be a coroutine."""
        return False

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """As ``PasswordAuth.check``."""
        return await resolved(self.check_credentials(username, password)) is True


class RemoteUserAuth(AuthBase):
    """A proxy in front of the master knows who it is, and says so in a header of every request.

    Whoever reaches the master around the proxy can claim to be anybody: let it listen on loopback, and let the proxy
    remove the header from what clients send.

    Args:
        header: its name.
        headerRegex: finds ``username`` and other attributes as named groups in the header's value.
    """

    header = "REMOTE_USER"
    headerRegex = r"(?P<username>[^ @]+)@(?P<realm>[^ @]+)"

    def __init__(
        self,
        header: str | bytes | None = None,
        headerRegex: str | bytes | re.Pattern[str] | None = None,
        userInfoProvider: UserInfoProviderBase | None = None,
    ) -> None:
        super().__init__(userInfoProvider)
        self._header = _text(header or self.header).lower()
        pattern = headerRegex or self.headerRegex
        try:
            self._regex = re.compile(_text(pattern) if isinstance(pattern, bytes) else pattern)
        except re.error as problem:
            error(f"RemoteUserAuth: headerRegex is no regular expression: {problem}")
            self._regex = re.compile(self.headerRegex)
        if "username" not in self._regex.groupindex:
            error("RemoteUserAuth: headerRegex must have a group named username: (?P<username>…)")
        self._known: OrderedDict[str, tuple[float, UserInfo]] = OrderedDict()

    async def visitor(self, request: Request, desk: LoginContext) -> UserInfo | None:
        """As ``AuthBase.visitor``; what the provider says of a user counts for five minutes."""
        found = self._regex.fullmatch(request.header(self._header) or "")
        if found is None:
            return None
        now, value = desk.master.reactor.seconds(), found[0]
        known = self._known.get(value)
        if known is None or known[0] < now:
            attributes = {name: text for name, text in found.groupdict().items() if text is not None}
            known = self._known[value] = (now + _REMEMBERED_S, await self._described(attributes))
            self._known.move_to_end(value)
            if len(self._known) > _REMEMBERED_USERS:
                self._known.popitem(last=False)
        return known[1]

    async def login(self, request: Request, desk: LoginContext) -> LoggedIn | Response:
        """As ``AuthBase.login``; the proxy has done it, or nobody has."""
        return Response.text(403, "The proxy in front of this server did not say who you are")


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Name and password of HTTP Basic; None if there are none that can be read."""
    scheme, _, encoded = (request.header("authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None


def _in_thread(desk: LoginContext, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
    reactor = desk.master.reactor
    return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
