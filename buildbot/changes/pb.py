"""PBChangeSource: takes changes that ``buildbot sendchange`` and hooks of version control systems send over PB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.logger import Logger
from twisted.spread import pb

from buildbot.changes.base import ChangeSource
from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.db.exceptions import NotClaimedError
from buildbot.process.workers.clients import Client
from buildbot.util.deferreds import deferred

_log = Logger()

_TEXTS = ("who", "author", "comments", "branch", "category", "revision", "project", "repository", "revlink", "codebase",
          "src")  # fmt: skip
_KEYS = (*_TEXTS, "files", "when", "when_timestamp", "properties", "isdir")


class RefusedChangeError(pb.Error):
    """The sent dictionary is no change; as a `pb.Error` the message goes to the client."""


def _port(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value):
        raise ValueError(f"must be a port, an endpoint description or None, not {checks.kind(value)}")
    return value


class PBChangeSource(ChangeSource):
    """Takes changes from clients that log in over PB. A change that a client was told is sent is stored."""

    state_class = "PBChangeSource"
    positional: ClassVar[tuple[str, ...]] = ("user", "passwd", "port", "prefix", "name")
    user = argument("change", checks.name, doc="the name with which clients log in; no worker may have it")
    passwd = argument("changepw", renderable=True, doc="their password, which may be a secret")
    port = argument(
        None,
        checks.optional(_port),
        doc="where they connect: a number or a description of a Twisted endpoint; None: where workers do",
    )
    prefix = argument(
        None,
        checks.optional(checks.name),
        doc="""taken off the beginning of file names; files whose names do not begin so do not count, and neither do
        changes without other files""",
    )
    name: Any = argument(
        None, checks.optional(checks.name), doc="unique among change sources; None: `PBChangeSource:` and the port"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.name is None:
            self.name = f"PBChangeSource:{self.port}"
        self.__open = False

    def client_port(self) -> int | str | None:
        """As `buildbot.interfaces.TakesClients`."""
        port: int | str | None = self.port
        return port

    async def start_work(self) -> None:
        """Let clients in."""
        password = await self.render(self.passwd)
        if not isinstance(password, str) or not password:
            raise ValueError(f"{self!r}: passwd must be a text that is not empty")
        await self.master.client_ports.add(self.port, self.user, Client(password, lambda: _Perspective(self)))
        self.__open = True

    async def stop_work(self) -> None:
        """Let no client in any more; one that is connected is refused from now on."""
        if self.__open:
            self.__open = False
            await self.master.client_ports.remove(self.port, self.user)

    async def take(self, sent: Any) -> None:
        """Add the change that a client has sent.

        Raises:
            RefusedChangeError: it is no change; the message says why.
        """
        change = received(sent, self.prefix)
        if change is None:
            _log.info("{part!r}: a change without a file below {prefix} does not count", part=self, prefix=self.prefix)
            return
        system = change.pop("src")
        if system is not None:
            user = {"identifier": change["author"], "attr_type": system, "attr_data": change["author"]}
            change["uid"] = await self.master.db.users.findUserByAttr(**user)
        try:
            await self.add_change(**change)
        except (TypeError, ValueError) as problem:
            raise RefusedChangeError(f"the change cannot be stored: {problem}") from None
        except NotClaimedError:
            raise RefusedChangeError("this master does not take changes now, another one does") from None


class _Perspective(pb.Avatar):
    """The methods that a client may call."""

    def __init__(self, source: PBChangeSource) -> None:
        self._source = source

    @deferred
    async def perspective_addChange(self, change: Any) -> None:
        """Add a change; the answer comes when it is stored."""
        await self._source.take(change)


def received(sent: Any, prefix: str | None) -> dict[str, Any] | None:
    """The arguments of ``addChange`` from a client's dictionary, and ``src``; None if it has no file below ``prefix``.

    ``src`` is the version control system that knows the author by this name.

    Raises:
        RefusedChangeError: it is no change.
    """
    if not isinstance(sent, Mapping):
        raise RefusedChangeError("a change must be a dictionary")
    change = {_text("key", key): value for key, value in sent.items()}
    unknown = sorted(change.keys() - set(_KEYS))
    if unknown:
        raise RefusedChangeError(f"a change has no {', '.join(map(repr, unknown))}; it has {', '.join(_KEYS)}")
    texts = {name: _text(name, change[name]) for name in _TEXTS if change.get(name) is not None}
    author = texts.get("who", texts.get("author"))
    if author is None:
        raise RefusedChangeError("a change must say who made it")
    files = change.get("files") or []
    if not isinstance(files, list | tuple):
        raise RefusedChangeError("files must be a list")
    files = [_text("a file", file) for file in files]
    if prefix is not None:
        files = [file.removeprefix(prefix) for file in files if file.startswith(prefix)]
        if not files:
            return None
    properties = change.get("properties") or {}
    if not isinstance(properties, Mapping):
        raise RefusedChangeError("properties must be a dictionary")
    return {
        "author": author,
        "files": files,
        "comments": texts.get("comments", ""),
        "revision": texts.get("revision"),
        "branch": texts.get("branch"),
        "category": texts.get("category"),
        "revlink": texts.get("revlink", ""),
        "repository": texts.get("repository", ""),
        "project": texts.get("project", ""),
        "codebase": texts.get("codebase"),
        "src": texts.get("src"),
        "is_dir": int(bool(change.get("isdir"))),
        "when_timestamp": _moment(change.get("when", change.get("when_timestamp"))),
        "properties": {_text("a property", name): _decoded(value) for name, value in properties.items()},
    }


def _text(what: str, value: Any) -> str:
    """A text, which old clients send as bytes, and a revision as a number."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise RefusedChangeError(f"{what} must be a text, not {checks.kind(value)}")
    return value


def _decoded(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _moment(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        raise RefusedChangeError(f"when must be a Unix time, not {checks.kind(value)}")
    return int(value)
