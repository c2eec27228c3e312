"""Commands in MessagePack's spelling.

Steps have commands in PB's form: camel-case names, paths relative to the builder's directory, which the agent joins.
Over MessagePack names are in snake case, paths are absolute and joined here, and the master finds the ends of transfers
by the command's id.

Agents take only text for the stdin of a command. Bytes that are no UTF-8 travel as Base64, which the shell of the
worker decodes on the way to the command; where there is no such shell they are refused.
"""

from __future__ import annotations

import base64
import ntpath
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from buildbot.process.workers.connection import RemoteError
from buildbot.process.workers.transfers import Reader, Writer

#: runs a command, its arguments, with the bytes that its stdin is the Base64 of
_WITH_BYTES = 'if command -v base64 >/dev/null 2>&1; then base64 -d; else openssl base64 -d; fi | "$@"'


@dataclass(frozen=True)
class Place:
    """The place on a worker where a builder's commands run.

    Attributes:
        basedir: the agent's directory, absolute.
        directory: the builder's, relative to that.
        system: ``posix`` or ``nt``.
        home: the home directory, for ``~``; None if it is not known.
    """

    basedir: str
    directory: str = ""
    system: str = "posix"
    home: str | None = None

    @property
    def rules(self) -> ModuleType:
        """The module for paths of its system."""
        return ntpath if self.system == "nt" else posixpath

    def path(self, *parts: str) -> str:
        """An absolute path there; an absolute part replaces the parts before it, as in ``os.path.join``."""
        given = [self.expanded(part) for part in (self.directory, *parts) if part]
        return str(self.rules.join(self.basedir, *given))

    def expanded(self, part: str) -> str:
        """A path with the home directory in the place of its ``~``."""
        if self.home is not None and (part == "~" or part[:2] in ("~/", "~\\")):
            return self.home + part[1:]
        return part


@dataclass
class Spelled:
    """A command in MessagePack's form.

    Attributes:
        name, args: for the agent.
        transfer: the master's end of a transfer, a `Writer` or a `Reader`; None without one.
        hidden: words of the arguments that must not be shown, and the words that are shown instead.
    """

    name: str
    args: dict[str, Any]
    transfer: Writer | Reader | None = None
    hidden: dict[str, str] = field(default_factory=dict)

    def shown(self, text: str) -> str:
        """A header of the agent without the hidden words."""
        for secret, instead in self.hidden.items():
            text = text.replace(secret, instead)
        return text


def spelled(name: str, args: Mapping[str, Any], place: Place) -> Spelled:
    """A command in MessagePack's form.

    Raises:
        RemoteError: there is no such command, or an argument that it needs is missing.
    """
    spell = _SPELLINGS.get(name)
    if spell is None:
        raise RemoteError(f"there is no command {name!r}; agents know {', '.join(_SPELLINGS)}")
    try:
        return spell(dict(args), place)
    except KeyError as missing:
        raise RemoteError(f"command {name!r} needs the argument {missing}") from None
    except TypeError as problem:
        raise RemoteError(f"command {name!r} has an argument of the wrong type: {problem}") from None


def _shell(args: dict[str, Any], place: Place) -> Spelled:
    args["workdir"] = place.path(args["workdir"])
    made = Spelled("shell", args)
    if isinstance(args["command"], list | tuple):
        args["command"] = [_argument(item, made.hidden) for item in args["command"]]
    if isinstance(args.get("initial_stdin"), bytes):
        try:
            args["initial_stdin"] = args["initial_stdin"].decode()
        except UnicodeDecodeError:
            _encode_stdin(args, place)
    return made


def _encode_stdin(args: dict[str, Any], place: Place) -> None:
    """Give a command its bytes by way of the shell. RemoteError if the worker has none."""
    if place.system != "posix":
        raise RemoteError("over MessagePack agents on Windows take only text for the stdin of a command; use pb")
    command = args["command"]
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    args["command"] = ["/bin/sh", "-c", _WITH_BYTES, "sh", *argv]
    args["initial_stdin"] = base64.encodebytes(args["initial_stdin"]).decode("ascii")


def _argument(item: object, hidden: dict[str, str]) -> object:
    """The real argument; ``("obfuscated", real, shown)`` is hidden by the master, since agents show the argument."""
    if isinstance(item, tuple) and len(item) == 3 and item[0] == "obfuscated":
        if item[1]:
            hidden[str(item[1])] = str(item[2])
        return str(item[1])
    return item


def _paths(name: str) -> Callable[[dict[str, Any], Place], Spelled]:
    """One directory or several, in the argument ``dir``."""

    def spell(args: dict[str, Any], place: Place) -> Spelled:
        given = args.pop("dir")
        given = given if isinstance(given, list | tuple) else [given]
        return Spelled(name, {**args, "paths": [place.path(each) for each in given]})

    return spell


def _path(name: str, *keys: str) -> Callable[[dict[str, Any], Place], Spelled]:
    """One path, made of the arguments of these names; all but the last may be missing."""

    def spell(args: dict[str, Any], place: Place) -> Spelled:
        *before, last = keys
        path = place.path(*[args.pop(key, "") for key in before], args.pop(last))
        return Spelled(name, {**args, "path": path})

    return spell


def _cpdir(args: dict[str, Any], place: Place) -> Spelled:
    args["from_path"], args["to_path"] = place.path(args.pop("fromdir")), place.path(args.pop("todir"))
    return Spelled("cpdir", args)


def _transfer(name: str, end: str, file: str) -> Callable[[dict[str, Any], Place], Spelled]:
    """A file or directory of the worker, in the arguments ``workdir`` and another, and the master's end."""

    def spell(args: dict[str, Any], place: Place) -> Spelled:
        transfer, path = args.pop(end), place.path(args.pop("workdir"), args.pop(file))
        return Spelled(name, {**args, "path": path}, transfer)

    return spell


_SPELLINGS: Mapping[str, Callable[[dict[str, Any], Place], Spelled]] = {
    "shell": _shell,
    "mkdir": _paths("mkdir"),
    "rmdir": _paths("rmdir"),
    "cpdir": _cpdir,
    "stat": _path("stat", "workdir", "file"),
    "glob": _path("glob", "path"),
    "listdir": _path("listdir", "dir"),
    "rmfile": _path("rmfile", "path"),
    "uploadFile": _transfer("upload_file", "writer", "workersrc"),
    "uploadDirectory": _transfer("upload_directory", "writer", "workersrc"),
    "downloadFile": _transfer("download_file", "reader", "workerdest"),
}
