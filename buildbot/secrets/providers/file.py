"""A provider of secrets that are files of a directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.secrets.providers.base import SecretProviderBase


class SecretInAFile(SecretProviderBase):
    """Secrets in files of a directory: the name of a secret is that of its file, which is read at each use.

    Files that other users may read are refused, by ``checkconfig`` and when they are used.
    """

    positional = ("dirname", "suffixes", "strip")

    dirname = argument(REQUIRED, checks.name, doc="the directory")
    suffixes = argument(
        None,
        checks.optional(checks.list_of(checks.text)),
        doc="use only files with one of these suffixes, which the secret's name does not have; None: all files",
    )
    strip = argument(True, checks.boolean, doc="remove newlines at the end of the content")

    def checkConfig(self, *args: Any, **kwargs: Any) -> None:
        """Report a missing directory, and files that cannot be used."""
        super().checkConfig(*args, **kwargs)
        given = self.by_name(args, kwargs)
        dirname, suffixes = given.get("dirname"), given.get("suffixes")
        if not isinstance(dirname, str) or not isinstance(suffixes, list | tuple | None):
            return
        if not os.path.isdir(dirname):
            error(f"SecretInAFile: directory {dirname} does not exist")
            return
        seen: dict[str, str] = {}
        for path in sorted(Path(dirname).iterdir()):
            for name in _names(path.name, suffixes):
                if path.is_dir():
                    continue
                problem = _problem(path)
                if problem is not None:
                    error(f"SecretInAFile: {problem}")
                other = seen.setdefault(name, path.name)
                if other != path.name:
                    error(f"SecretInAFile: {other} and {path.name} in {dirname} are both the secret {name!r}")

    def get(self, entry: str) -> str | None:
        """The content of the secret's file; None if there is none. The errors of unusable files have no content."""
        if not entry or "/" in entry or "\0" in entry or entry in (".", ".."):
            return None
        for suffix in [""] if self.suffixes is None else self.suffixes:
            path = Path(self.dirname) / (entry + suffix)
            if path.exists() and not path.is_dir():
                return self.__read(path)
        return None

    def __read(self, path: Path) -> str:
        problem = _problem(path)
        if problem is not None:
            raise ValueError(problem)
        try:
            content = path.read_bytes().decode("utf-8")
        except OSError as reason:
            raise OSError(f"the secret file {path.name} cannot be read: {reason.strerror}") from None
        except UnicodeDecodeError:
            # the exception itself has the content
            raise ValueError(f"the secret file {path.name} is not UTF-8 text") from None
        return content.rstrip("\r\n") if self.strip else content


def _names(filename: str, suffixes: list[str] | tuple[str, ...] | None) -> Iterator[str]:
    if suffixes is None:
        yield filename
        return
    for suffix in suffixes:
        if isinstance(suffix, str) and filename.endswith(suffix) and filename != suffix:
            yield filename[: len(filename) - len(suffix)]


def _problem(path: Path) -> str | None:
    """The reason why a file must not be used; None if it may be."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as reason:
        return f"the secret file {path.name} cannot be read: {reason.strerror}"
    if mode & stat.S_IRWXO:
        return (
            f"Permissions {oct(mode)} on file {path.name} are too open. It is required that your secret files are NOT "
            "accessible by others!"
        )
    return None
