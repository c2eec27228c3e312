"""Managing users over the network: what ``buildbot user --master`` talks to, and what both it and the command do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from twisted.logger import Logger
from twisted.spread import pb

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.claimed import RunningMaster
from buildbot.process.service import DeclaredService
from buildbot.process.workers.clients import Client
from buildbot.util.deferreds import deferred
from buildbot.util.passwords import encrypt, is_hash
from buildbot.util.threads import in_own_thread

_log = Logger()

#: what may be done with users
OPERATIONS = ("add", "update", "remove", "get")


class UserError(pb.Error):
    """A request cannot be carried out; as a `pb.Error` the message goes to the client."""


class CommandlineUserManager(DeclaredService):
    """Lets ``buildbot user --master`` add, change, remove and show users."""

    master: RunningMaster
    positional: ClassVar[tuple[str, ...]] = ("username", "passwd", "port")
    secrets = ("passwd",)
    username = argument(REQUIRED, checks.name, doc="what the command logs in as")
    passwd = argument(REQUIRED, checks.name, renderable=True, doc="its password, which may be a secret")
    port = argument(
        REQUIRED,
        checks.either(checks.whole_number(1), checks.name, otherwise="a port or an endpoint description"),
        doc="where it connects: a number or a description of a Twisted endpoint; others of the same port have it too",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = self.by_name(args, kwargs)
        kwargs.setdefault("name", f"CommandlineUserManager:{given.get('port')}:{given.get('username')}")
        self.__open: tuple[Any, str] | None = None
        super().__init__(*args, **kwargs)

    @deferred
    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments, and listen where they say; Deferred."""
        await self.__close()
        await super().reconfigService(*args, **kwargs)
        await self.master.client_ports.add(self.port, self.username, Client(self.passwd, lambda: _Perspective(self)))
        self.__open = self.port, self.username

    @deferred
    async def stopService(self) -> None:
        """Refuse logins from now on; Deferred."""
        await self.__close()
        await super().stopService()

    async def __close(self) -> None:
        opened, self.__open = self.__open, None
        if opened is not None:
            await self.master.client_ports.remove(*opened)

    async def obey(self, op: Any, username: Any, password: Any, ids: Any, infos: Any) -> str:
        """Do what a client asks for.

        Args:
            op: one of `OPERATIONS`.
            username, password: the login of a user that is updated, or None; the password may be a hash.
            ids: identifiers, for ``remove`` and ``get``.
            infos: a dictionary for each user, for ``add`` and ``update``: ``identifier``, and attributes by type.

        Returns:
            what was done, in lines.

        Raises:
            UserError: it cannot be done; the message says why.
        """
        if self.__open is None:
            raise UserError("this master does not manage users any more")
        op = _text("op", op)
        if op not in OPERATIONS:
            raise UserError(f"bad op {op!r}, use 'add', 'remove', 'update', or 'get'")
        lines = []
        if op in ("get", "remove"):
            act = show if op == "get" else remove
            for identifier in _list("ids", ids):
                lines.append(await act(self.master.db, _text("an identifier", identifier)))
        else:
            for info in _list("info", infos):
                if not isinstance(info, Mapping):
                    raise UserError(f"info must be dictionaries, not {checks.kind(info)}")
                attributes = {_text("a type", kind): _text(str(kind), value) for kind, value in info.items()}
                identifier = attributes.pop("identifier", None)
                login = None if username is None else (_text("username", username), _text("password", password))
                lines.append(await write(self.master.db, op, identifier, list(attributes.items()), login))
        if op != "get":
            _log.info("{service}: {done}", service=self.name, done="; ".join(lines))
        return "\n".join(lines)


class _Perspective(pb.Avatar):
    """The methods that a client may call."""

    def __init__(self, manager: CommandlineUserManager) -> None:
        self._manager = manager

    @deferred
    async def perspective_commandline(self, op: Any, bb_username: Any, bb_password: Any, ids: Any, info: Any) -> str:
        """See `CommandlineUserManager.obey`; what is said is UTF-8."""
        return await self._manager.obey(op, bb_username, bb_password, ids, info)


def _text(what: str, value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if not isinstance(value, str):
        raise UserError(f"{what} must be a text, not {checks.kind(value)}")
    return value


def _list(what: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise UserError(f"{what} must be a list that is not empty")
    return value


# what is done, also by the command on a database


async def show(db: Any, identifier: str) -> str:
    """A user in lines, ``key: value``.

    Raises:
        UserError: there is no such user.
    """
    uid = await db.users.identifierToUid(identifier)
    user = None if uid is None else await db.users.getUser(uid, no_cache=True)
    if user is None:
        raise UserError(f"there is no user {identifier!r}")
    # a hash of a password is secret, too
    return "\n".join(f"{key}: {value}" for key, value in user.items() if key != "bb_password" and value is not None)


async def remove(db: Any, identifier: str) -> str:
    """Remove a user; what was done, as a line.

    Raises:
        UserError: there is no such user.
    """
    uid = await db.users.identifierToUid(identifier)
    if uid is None:
        raise UserError(f"there is no user {identifier!r}")
    await db.users.removeUser(uid)
    return f"removed {identifier}"


async def write(
    db: Any, op: str, identifier: str | None, attributes: Sequence[tuple[str, str]], login: tuple[str, str] | None
) -> str:
    """Add or change a user; what was done, as a line.

    Args:
        op: ``add`` or ``update``.
        identifier: of the user; None for a new one: the first attribute's value.
        attributes: their types and values.
        login: name and password, or its hash; None: they stay.

    Raises:
        UserError: there is no such user, or an attribute is not possible.
    """
    users = db.users
    if op == "add":
        if not attributes:
            raise UserError("a new user needs an attribute, such as git")
        kind, value = attributes[0]
        identifier = identifier or value
        uid = await users.findUserByAttr(identifier=identifier, attr_type=kind, attr_data=value)
    elif identifier is None:
        raise UserError("an update needs the identifier of the user")
    else:
        uid = await users.identifierToUid(identifier)
        if uid is None:
            raise UserError(f"there is no user {identifier!r}")
    try:
        for kind, value in attributes:
            await users.updateUser(uid=uid, attr_type=kind, attr_data=value)
    except ValueError as reason:
        raise UserError(str(reason)) from None
    if login is not None:
        name, password = login
        stored = password if is_hash(password) else await in_own_thread(encrypt, password)
        await users.updateUser(uid=uid, bb_username=name, bb_password=stored)
    return f"{'added' if op == 'add' else 'updated'} {identifier} (uid {uid})"


__all__ = ["OPERATIONS", "CommandlineUserManager", "UserError", "remove", "show", "write"]
