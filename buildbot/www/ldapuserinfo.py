"""Attributes of users from a directory server (LDAP): addresses, names, groups, pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol, TypedDict, TypeVar

from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.www.auth import UserInfoProviderBase
from buildbot.www.avatar import AvatarBase
from buildbot.www.rendering import rendered
from buildbot.www.resource import Redirect

try:
    import ldap3
    from ldap3.utils.conv import escape_filter_chars
except ImportError:
    ldap3 = None

_log = Logger()

T = TypeVar("T")

#: how long the server may take to answer, in seconds
_TIMEOUT_S = 10
#: the first bytes of pictures, by type
_PICTURES = ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))


class Entry(TypedDict):
    """An entry of a result."""

    type: str
    dn: str
    raw_attributes: Mapping[str, list[bytes]]


class Directory(Protocol):
    """A connection to a directory server; `ldap3.Connection` is one."""

    @property
    def response(self) -> Sequence[Entry] | None:
        """The entries of the last search."""

    def search(self, search_base: str, search_filter: str, *, attributes: Sequence[str]) -> object:
        """Search below an entry."""

    def unbind(self) -> object:
        """End the connection."""


def connect(uri: str, user: str | None, password: str | None, tls: object) -> Directory:
    """An open connection to a directory server; the caller unbinds it.

    With ``tls`` and an ``ldap://`` address nothing is sent before the connection is encrypted (StartTLS).
    """
    starts_tls = tls is not None and uri.lower().startswith("ldap://")
    opened: Directory = ldap3.Connection(
        ldap3.Server(uri, tls=tls, connect_timeout=_TIMEOUT_S),
        user=user,
        password=password,
        auto_bind=ldap3.AUTO_BIND_TLS_BEFORE_BIND if starts_tls else ldap3.AUTO_BIND_NO_TLS,
        receive_timeout=_TIMEOUT_S,
        read_only=True,
    )
    return opened


def _uri(value: object) -> str:
    if not isinstance(value, str) or not value.lower().startswith(("ldap://", "ldaps://", "ldapi://")):
        raise ValueError(f"must be an address such as 'ldaps://ldap.example.org', not {checks.kind(value)}")
    return value


def _password(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not a value of type {type(value).__name__}")
    return value


def _pattern(name: str) -> checks.CheckOf[str]:
    """A filter with a place for one value."""

    def check(value: object) -> str:
        try:
            pattern = checks.text(value)
            pattern % {name: ""}
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"must be a filter with %({name})s in it, not {checks.kind(value)}") from None
        if f"%({name})s" not in pattern:
            raise ValueError(f"must have %({name})s in it, not {checks.kind(value)}")
        return pattern

    return check


class LdapUserInfo(UserInfoProviderBase, AvatarBase):
    """Asks a directory server about users: as ``userInfoProvider`` of a way to log in, and as source of pictures."""

    name = "ldap"
    positional: ClassVar[tuple[str, ...]] = (
        "uri", "bindUser", "bindPw", "accountBase", "accountPattern", "accountFullName", "accountEmail", "groupBase",
        "groupMemberPattern", "groupName", "avatarPattern", "avatarData", "accountExtraFields", "tls",
    )  # fmt: skip
    uri = argument(REQUIRED, _uri, doc="the server's address: `ldap://`, `ldaps://` or `ldapi://`")
    bindUser = argument(REQUIRED, checks.optional(checks.text), doc="the name to log in with; None: anonymous")
    bindPw = argument(
        REQUIRED, checks.optional(_password), renderable=True, doc="the password of that name, may be a `util.Secret`"
    )
    accountBase = argument(REQUIRED, checks.name, doc="where users are: `ou=people,dc=example,dc=org`")
    accountPattern = argument(
        REQUIRED, _pattern("username"), doc="the filter that finds a user: `(&(objectClass=person)(uid=%(username)s))`"
    )
    accountFullName = argument(REQUIRED, checks.name, doc="the attribute that is the full name")
    accountEmail = argument(REQUIRED, checks.name, doc="the attribute that is the e-mail address")
    groupBase = argument(None, checks.optional(checks.name), doc="where groups are")
    groupMemberPattern = argument(
        None, checks.optional(_pattern("dn")), doc="the filter that finds a user's groups: `(member=%(dn)s)`"
    )
    groupName = argument(None, checks.optional(checks.name), doc="the attribute that is a group's name")
    avatarPattern = argument(
        None, checks.optional(_pattern("email")), doc="the filter that finds the user of an address: `(mail=%(email)s)`"
    )
    avatarData = argument(None, checks.optional(checks.name), doc="the attribute that is the picture, or its URL")
    accountExtraFields = argument(
        None, checks.optional(checks.list_of(checks.name)), doc="further attributes to read, by their own names"
    )
    tls = argument(
        None, checks.anything, doc="an `ldap3.Tls(…)`; with an `ldap://` address the connection begins with StartTLS"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if ldap3 is None:
            error("LdapUserInfo: needs ldap3, which is not installed: pip install 'tenfold[ldap]'")
        super().__init__(*args, **kwargs)
        for names in (("groupBase", "groupMemberPattern", "groupName"), ("avatarPattern", "avatarData")):
            missing = [name for name in names if getattr(self, name) is None]
            if missing and len(missing) < len(names):
                error(f"LdapUserInfo: {', '.join(names)} must be given together; {', '.join(missing)} is missing")

    async def getUserInfo(self, username: str) -> dict[str, Any]:
        """The attributes of a user; empty if the server does not know exactly one user of that name.

        Raises:
            ldap3.core.exceptions.LDAPException: it does not answer, or refuses.
        """
        return await self.__asked(self.__user, username)

    async def getUserAvatar(self, email: bytes, username: bytes | None, size: int, defaultAvatarUrl: str) -> Any:
        """As ``AvatarBase.getUserAvatar``."""
        if self.avatarPattern is None or self.avatarData is None or not email:
            return None
        ask = partial(self.__picture, self.avatarPattern, self.avatarData)
        found = await self.__asked(ask, email.decode(errors="replace"))
        if isinstance(found, str):
            raise Redirect(found)
        return found

    async def __asked(self, ask: Callable[[Directory, str], T], about: str) -> T:
        password = await rendered(self.master, self.bindPw)
        return await deferToThread(self.__with_connection, password, ask, about)

    def __with_connection(self, password: str | None, ask: Callable[[Directory, str], T], about: str) -> T:
        connection = connect(self.uri, self.bindUser, password, self.tls)
        try:
            return ask(connection, about)
        finally:
            connection.unbind()

    def __user(self, connection: Directory, username: str) -> dict[str, Any]:
        wanted = [self.accountFullName, self.accountEmail, *(self.accountExtraFields or ())]
        pattern = self.accountPattern % {"username": escape_filter_chars(username)}
        entries = self.__found(connection, self.accountBase, pattern, wanted)
        if len(entries) != 1:
            _log.error("the directory has {count} users {name!r}", count=len(entries), name=username[:100])
            return {}
        dn, attributes = entries[0]
        known: dict[str, Any] = {name: attributes.get(name) for name in self.accountExtraFields or ()}
        known |= {"full_name": attributes.get(self.accountFullName), "email": attributes.get(self.accountEmail)}
        if self.groupBase is not None and self.groupMemberPattern is not None and self.groupName is not None:
            pattern = self.groupMemberPattern % {"dn": escape_filter_chars(dn)}
            groups = self.__found(connection, self.groupBase, pattern, [self.groupName])
            known["groups"] = [found[self.groupName] for _, found in groups if self.groupName in found]
        return known

    def __picture(
        self, pattern: str, attribute: str, connection: Directory, email: str
    ) -> tuple[str, bytes] | str | None:
        wanted = pattern % {"email": escape_filter_chars(email)}
        connection.search(self.accountBase, wanted, attributes=[attribute])
        for entry in _entries(connection):
            for value in entry["raw_attributes"].get(attribute) or ():
                if value.startswith((b"http://", b"https://")):
                    return str(value.decode(errors="replace"))
                for start, kind in _PICTURES:
                    if value.startswith(start):
                        return kind, value
        return None

    def __found(
        self, connection: Directory, base: str, pattern: str, wanted: list[str]
    ) -> list[tuple[str, dict[str, str]]]:
        """Entries by their names, with the first value of each attribute as text."""
        connection.search(base, pattern, attributes=wanted)
        found = []
        for entry in _entries(connection):
            raw = entry["raw_attributes"]
            texts = {name: raw[name][0].decode(errors="replace") for name in wanted if raw.get(name)}
            found.append((entry["dn"], texts))
        return found


def _entries(connection: Directory) -> list[Entry]:
    """The entries of a result, without references to other servers."""
    return [each for each in connection.response or () if each.get("type") == "searchResEntry"]
