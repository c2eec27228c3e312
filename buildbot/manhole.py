"""An interactive Python prompt inside a running master: ``c['manhole']``.

It is for administrators: what is typed there runs as the master, with its passwords and its database. So
there is one kind only, by SSH and with keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from twisted.conch.checkers import IAuthorizedKeysDB, SSHPublicKeyChecker
from twisted.conch.error import ConchError
from twisted.conch.insults import insults
from twisted.conch.manhole import Manhole
from twisted.conch.manhole_ssh import ConchFactory, TerminalRealm
from twisted.conch.ssh.keys import BadKeyError, EncryptedKeyError, Key
from twisted.cred.portal import Portal
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.config.ports import endpoint
from buildbot.util import tcp

_log = Logger()

#: seconds to log in, and how many connections may be doing so
LOGIN_S = 60.0
MAX_STRANGERS = 20


def show(obj: Any) -> None:
    """Print the attributes of an object that are no methods, with their values."""
    for name in sorted(dir(obj)):
        if name.startswith("__"):
            continue
        try:
            value = getattr(obj, name)
        except Exception as problem:
            value = problem
        if not callable(value):
            text = repr(value)
            print(f"{name:>25} : {text if len(text) <= 500 else text[:500] + '…'}")  # noqa: T201 (the prompt shows it)


def _port(value: Any) -> str:
    # An endpoint in the configuration can name other interfaces than loopback.
    return endpoint(value, interface="127.0.0.1")


def _key_file(value: Any) -> str:
    # while a configuration is loaded, relative means relative to its directory
    path = Path(checks.name(value)).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"must be a file with public keys, as ~/.ssh/authorized_keys; there is none {value!r}")
    return str(path)


def _host_keys(value: Any) -> str:
    path = Path(checks.name(value)).expanduser().absolute()
    if not any(path.glob("ssh_host_*_key")):
        raise ValueError(
            f"must be a directory with keys of this server; make one with: ssh-keygen -t ed25519 -N '' -f "
            f"{value}/ssh_host_ed25519_key"
        )
    _server_keys(path)
    return str(path)


def _server_keys(directory: Path) -> dict[bytes, Key]:
    """The keys of a server, by their kinds; ValueError if a file has none."""
    found = {}
    for path in sorted(directory.glob("ssh_host_*_key")):
        try:
            key = Key.fromFile(str(path))
        except (BadKeyError, EncryptedKeyError, OSError, ValueError) as problem:
            raise ValueError(f"has {path.name}, which is no key that can be used: {problem}") from None
        found[key.sshType()] = key
    return found


class AuthorizedKeysManhole(Declared):
    """A prompt by SSH, for those whose public keys are in a file; the user's name does not count.

    Each has ``master`` and ``show(object)``, which lists the attributes of an object.
    """

    positional: ClassVar[tuple[str, ...]] = ("port", "keyfile", "ssh_hostkey_dir")
    port = argument(REQUIRED, _port, doc="TCP port, on loopback, or an endpoint")
    keyfile = argument(
        REQUIRED, _key_file, doc="public keys, as in `~/.ssh/authorized_keys`; it is read at every login"
    )
    ssh_hostkey_dir = argument(REQUIRED, _host_keys, doc="the directory of the server's keys, `ssh_host_*_key`")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__listening: Any = None
        self.__factory: _Factory | None = None

    def same_as(self, other: object) -> bool:
        """Whether another one would do the same."""
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name) for name in self.positional
        )

    async def start(self, master: Any) -> None:
        """Listen; CannotListenError where the address is in use."""
        self.__factory = _Factory(master, self.keyfile, _server_keys(Path(self.ssh_hostkey_dir)))
        self.__listening = await tcp.listen(master.reactor, self.port, self.__factory)
        _log.info("the prompt listens on {where}", where=self.__listening.getHost())

    async def stop(self) -> None:
        """Listen no more, and end the prompts that are open."""
        listening, self.__listening = self.__listening, None
        if listening is not None:
            await maybeDeferred(listening.stopListening)
        if self.__factory is not None:
            self.__factory.drop_all()

    @property
    def address(self) -> Any:
        """The address at which it listens; None if it does not."""
        return None if self.__listening is None else self.__listening.getHost()


def _is_in(protocol: Any) -> bool:
    """Whether a user has logged in at a connection."""
    return getattr(protocol, "avatar", None) is not None


@implementer(IAuthorizedKeysDB)
class _Keys:
    """The keys of a file; each lets any user name in."""

    def __init__(self, path: str) -> None:
        self._path = path

    def getAuthorizedKeys(self, username: bytes) -> list[Key]:
        """The lines of the file that are keys."""
        found = []
        for line in Path(self._path).read_bytes().splitlines():
            if line.strip() and not line.startswith(b"#"):
                try:
                    found.append(Key.fromString(line))
                except (BadKeyError, ValueError):
                    _log.error("the prompt: a line of {path} is no public key", path=self._path)
        return found


class _Checker(SSHPublicKeyChecker):
    """Says in the log who came in."""

    def requestAvatarId(self, credentials: Any) -> Any:
        deferred: Any = super().requestAvatarId(credentials)  # type: ignore[no-untyped-call]
        name = credentials.username.decode(errors="replace")[:100]

        def in_(result: Any) -> Any:
            _log.warn("the prompt: a login as {name!r}", name=name)
            return result

        def out(failure: Any) -> Any:
            if failure.check(ConchError) is None or credentials.signature is not None:
                _log.warn("the prompt: a login as {name!r} failed", name=name)
            return failure

        return deferred.addCallbacks(in_, out)


class _Factory(ConchFactory):
    def __init__(self, master: Any, keyfile: str, keys: dict[bytes, Key]) -> None:
        # Twisted's types say less than is there.
        realm: Any = TerminalRealm()
        realm.chainedProtocolFactory = lambda: insults.ServerProtocol(Manhole, {"master": master, "show": show})
        super().__init__(Portal(realm, [_Checker(_Keys(keyfile))]))  # type: ignore[no-untyped-call]
        self.privateKeys: Any = keys
        self.publicKeys: Any = {kind: key.public() for kind, key in keys.items()}
        #: the connections, each with the timer that ends it without a login
        self._open: dict[Any, Any] = {}
        self._reactor = master.reactor

    def buildProtocol(self, addr: Any) -> Any:
        """A connection, which has a moment to log in; None, which closes it at once, where too many are doing so."""
        for each in [each for each in self._open if each.transport is not None and not each.transport.connected]:
            self._forget(each)
        if sum(not _is_in(each) for each in self._open) >= MAX_STRANGERS:
            return None
        protocol = super().buildProtocol(addr)
        self._open[protocol] = self._reactor.callLater(LOGIN_S, self._end_stranger, protocol)
        return protocol

    def _end_stranger(self, protocol: Any) -> None:
        if protocol.transport is not None and protocol.transport.connected and not _is_in(protocol):
            _log.warn("the prompt: a connection that did not log in is dropped")
            protocol.transport.abortConnection()

    def _forget(self, protocol: Any) -> None:
        end = self._open.pop(protocol)
        if end.active():
            end.cancel()

    def drop_all(self) -> None:
        """End all connections."""
        for each in list(self._open):
            self._forget(each)
            if each.transport is not None:
                each.transport.abortConnection()
