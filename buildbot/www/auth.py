"""Ways to log in: ``c['www']['auth']``.

Most have ``login``, which answers ``/auth/login`` until it knows the visitor; then there is a session. `RemoteUserAuth`
has ``visitor`` instead: a header of each request names the visitor.
"""

from __future__ import annotations

import hmac
import os
import re
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.config.errors import error
from buildbot.data.interfaces import Master
from buildbot.util.addresses import network_of
from buildbot.util.deferreds import resolved
from buildbot.util.fairqueue import FairQueue, QueueFullError
from buildbot.util.guessing import Guesses, TooManyGuessesError
from buildbot.util.later import set_later
from buildbot.util.passwords import check_passwd
from buildbot.www import htpasswd
from buildbot.www.http.messages import Request, Response
from buildbot.www.sessions import Sessions

_log = Logger()

#: the attributes of a user: ``username``, ``email``, ``full_name``, ``groups``, …; JSON values
UserInfo = dict[str, Any]

#: methods of Buildbot 4.3 that make resources of Twisted's web server, which is not used here
_OF_TWISTED = ("getLoginResource", "getLogoutResource", "maybeAutoLogin", "updateUserInfo")
_REMEMBERED_USERS = 1000
_REMEMBERED_S = 300.0


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The end of a login: the user, and the part of the page to go back to."""

    user: UserInfo
    redirect: str


class LoginContext(Protocol):
    """The surroundings of a login, for an auth."""

    @property
    def master(self) -> Master:
        """The master, for its reactor and users."""

    @property
    def url(self) -> str:
        """The address of ``/auth/login`` as browsers see it."""

    @property
    def sessions(self) -> Sessions:
        """The sessions, for setting cookies."""

    async def sign(self, purpose: str, text: str) -> str:
        """A signature of ``text`` that only this installation can make."""


class UserInfoProviderBase:
    """Gives further attributes of a user; derive from it and override ``getUserInfo``."""

    name = "noinfo"
    #: the master, before it is asked
    master: Master = set_later()

    def getUserInfo(self, username: str) -> Any:
        """A dictionary with ``email``, ``full_name``, ``groups`` or other attributes; may be a coroutine."""
        return {"email": username}


def _provider(value: Any) -> UserInfoProviderBase:
    if isinstance(value, type) or not callable(getattr(value, "getUserInfo", None)):
        raise ValueError(f"must be an object with a method getUserInfo, not {checks.kind(value)}")
    return value  # type: ignore[no-any-return]


class AuthBase(Declared):
    """Base class of ways to log in; derive from it and override ``login`` or ``visitor``."""

    userInfoProvider = argument(None, checks.optional(_provider), doc="gives further attributes of users")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in _OF_TWISTED:
            if hasattr(self, name):
                error(
                    f"{type(self).__name__}: {name} is not called here: derive from util.CustomAuth and override "
                    "check_credentials, or override login(request, desk)"
                )
        if self.userInfoProvider is None:
            self.userInfoProvider = UserInfoProviderBase()

    #: the master, once the web server has been made
    master: Master = set_later()

    def reconfigAuth(self, master: Master, new_config: object) -> None:
        """Take the master and its configuration; called when the web server is made, and at each reconfiguration."""
        self.master = master
        if isinstance(self.userInfoProvider, UserInfoProviderBase):
            self.userInfoProvider.master = master

    def getConfigDict(self) -> dict[str, Any]:
        """The description for pages: ``name``, and for OAuth2 more."""
        return {"name": type(self).__name__}

    async def visitor(self, request: Request, desk: LoginContext) -> UserInfo | None:
        """The user that the request itself names; None if sessions tell."""
        return None

    def knows(self, user: Mapping[str, Any]) -> bool:
        """Whether a session of this user is still valid."""
        return True

    async def login(self, request: Request, desk: LoginContext) -> LoggedIn | Response:
        """One step of a login: its end, or the response for the next step."""
        return Response.text(404, "There is no login here")

    async def described(self, user: Mapping[str, Any]) -> UserInfo:
        """The attributes of a user, with those of ``userInfoProvider``."""
        provider = self.userInfoProvider or UserInfoProviderBase()
        return {**user, **(await resolved(provider.getUserInfo(user["username"])) or {})}


class NoAuth(AuthBase):
    """No login; all visitors may control: for a network of trusted people."""


class PasswordAuth(AuthBase):
    """Asks for a name and a password by HTTP Basic."""

    positional: ClassVar[tuple[str, ...]] = ("userInfoProvider",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__checks = FairQueue()
        self.__guesses: Guesses | None = None

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """Whether this is the user's password."""
        raise NotImplementedError

    async def login(self, request: Request, desk: LoginContext) -> LoggedIn | Response:
        """As ``AuthBase.login``."""
        given = basic_credentials(request)
        if given is not None:
            try:
                right = await self.__is_right(request.client, given, desk)
            except (TooManyGuessesError, QueueFullError):
                _log.info("login refused: too many from {address} wait", address=request.client)
                return Response.text(429, "Too many logins from your address wait; try again later").with_headers(
                    ("Retry-After", "10")
                )
            if right:
                redirect = dict(request.parameters()).get("redirect", "")
                return LoggedIn(await self.described({"username": given[0]}), redirect)
            _log.info(
                "login from {address} failed: wrong password or unknown user {name!r}",
                address=request.client,
                name=given[0][:100],
            )
        challenge = ("WWW-Authenticate", 'Basic realm="buildbot", charset="UTF-8"')
        return Response.text(401, "Unauthorized").with_headers(challenge)

    async def __is_right(self, address: str, given: tuple[str, str], desk: LoginContext) -> bool:
        """Check a password, when it is the turn of its address."""
        if self.__guesses is None:
            self.__guesses = Guesses(desk.master.reactor)
        guesses, name, network = self.__guesses, given[0][:200], network_of(address)

        async def check() -> bool:
            return bool(await self.check(*given, desk))

        # A login that waits because of wrong passwords takes a place of its address, but no thread.
        with self.__checks.place(network):
            await guesses.turn(address, name)
            right = await self.__checks.run(network, check)
        (guesses.right if right else guesses.wrong)(address, name)
        return right


def _users(value: Any) -> dict[bytes, bytes]:
    """Names and passwords as bytes; a wrong value is not shown, since it may hold passwords."""
    try:
        return {_bytes(name): _bytes(password) for name, password in dict(value).items()}
    except (TypeError, ValueError, AttributeError):
        raise ValueError("must be a dictionary of name to password, or a list of such pairs, all text") from None


class UserPasswordAuth(PasswordAuth):
    """Users and passwords in the configuration."""

    positional: ClassVar[tuple[str, ...]] = ("users", "userInfoProvider")
    users = argument(REQUIRED, _users, doc="a dictionary of name to password, or a list of such pairs")

    def knows(self, user: Mapping[str, Any]) -> bool:
        """As ``AuthBase.knows``: sessions of users who were removed from the configuration are invalid."""
        return _bytes(user["username"]) in (self.users or {})

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """As ``PasswordAuth.check``."""
        expected = (self.users or {}).get(username.encode())
        # An unknown name takes as long as a wrong password.
        same = hmac.compare_digest(expected if expected is not None else b"", password.encode())
        return same and expected is not None


def _password_file(value: object) -> str:
    # while a configuration is loaded, paths are relative to its directory
    path = Path(checks.name(os.fspath(value) if isinstance(value, os.PathLike) else value)).absolute()
    if not path.is_file():
        raise ValueError(f"must be a file; there is none {value!r}")
    return str(path)


class HTPasswdAuth(PasswordAuth):
    """Users and passwords in a file that Apache's ``htpasswd`` keeps: bcrypt, ``apr1`` or ``{SHA}``."""

    positional: ClassVar[tuple[str, ...]] = ("passwdFile", "userInfoProvider")
    passwdFile = argument(
        REQUIRED, _password_file, doc="its path; it is read at every login, so that changes count at once"
    )

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """As ``PasswordAuth.check``."""
        try:
            return bool(await _in_thread(desk, htpasswd.check, Path(self.passwdFile), username, password))
        except OSError as problem:
            _log.error("login: {path} cannot be read: {reason}", path=self.passwdFile, reason=problem.strerror)
            return False


class UsersAuth(PasswordAuth):
    """Users and passwords in the database, as ``buildbot user`` keeps them."""

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """As ``PasswordAuth.check``."""
        try:
            user = await desk.master.db.users.getUserByUsername(username)
        except ValueError:  # the text cannot be a name
            return False
        stored = "" if user is None else user.get("bb_password") or ""
        return bool(await _in_thread(desk, check_passwd, password, stored))


class CustomAuth(PasswordAuth):
    """Derive from it and override ``check_credentials``."""

    def check_credentials(self, username: str, password: str) -> Any:
        """Whether this is the user's password; may be a coroutine."""
        return False

    async def check(self, username: str, password: str, desk: LoginContext) -> bool:
        """As ``PasswordAuth.check``."""
        return await resolved(self.check_credentials(username, password)) is True


def _header(value: object) -> str:
    return checks.name(_text(value) if isinstance(value, bytes) else value)


def _header_regex(value: Any) -> re.Pattern[str]:
    try:
        pattern = re.compile(_text(value) if isinstance(value, bytes) else value)
    except (re.error, TypeError) as problem:
        raise ValueError(f"must be a regular expression, not {checks.kind(value)}: {problem}") from None
    if "username" not in pattern.groupindex:
        raise ValueError(f"must have a group named username, (?P<username>…), not {checks.kind(value)}")
    return pattern


class RemoteUserAuth(AuthBase):
    """A proxy in front of the master logs people in, and names the user in a header of every request.

    A client that reaches the master without the proxy can claim to be any user: let the master listen on loopback, and
    let the proxy remove the header from the requests of clients.
    """

    positional: ClassVar[tuple[str, ...]] = ("header", "headerRegex", "userInfoProvider")
    header = argument("REMOTE_USER", _header, doc="its name")
    headerRegex = argument(
        r"(?P<username>[^ @]+)@(?P<realm>[^ @]+)",
        _header_regex,
        doc="finds `username` and other attributes as named groups in the header's value",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = self.by_name(args, kwargs)
        super().__init__(**{name: value for name, value in given.items() if value is not None})
        self.__regex = re.compile(self.headerRegex)
        self.__known: OrderedDict[str, tuple[float, UserInfo]] = OrderedDict()

    async def visitor(self, request: Request, desk: LoginContext) -> UserInfo | None:
        """As ``AuthBase.visitor``; the attributes that the provider gives are used for five minutes."""
        found = self.__regex.fullmatch(request.header(self.header.lower()) or "")
        if found is None:
            return None
        now, value = desk.master.reactor.seconds(), found[0]
        known = self.__known.get(value)
        if known is None or known[0] < now:
            attributes = {name: text for name, text in found.groupdict().items() if text is not None}
            known = self.__known[value] = (now + _REMEMBERED_S, await self.described(attributes))
            self.__known.move_to_end(value)
            if len(self.__known) > _REMEMBERED_USERS:
                self.__known.popitem(last=False)
        return known[1]

    async def login(self, request: Request, desk: LoginContext) -> LoggedIn | Response:
        """As ``AuthBase.login``; the proxy logs in, so there is no other login."""
        return Response.text(403, "The proxy in front of this server did not say who you are")


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Name and password of HTTP Basic; None if the header has none, or cannot be read."""
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
