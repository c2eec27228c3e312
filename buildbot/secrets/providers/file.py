"""Secrets in files, one each."""

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
    """Files of a directory; the name of a secret is that of its file. A file is read whenever its secret is used.

    Files that others may read are refused, by ``checkconfig`` and when they are used.
    """

    positional = ("dirname", "suffixes", "strip")

    dirname = argument(REQUIRED, checks.name, doc="the directory")
    suffixes = argument(
        None,
        checks.optional(checks.list_of(checks.text)),
        doc="files with one of these endings only, which is cut off for the name; None: all files",
    )
    strip = argument(True, checks.boolean, doc="remove line ends at the end of the file")

    def checkConfig(self, *args: Any, **kwargs: Any) -> None:
        """Look at the directory, and at the files that are there now."""
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
        """The content of a file. OSError or ValueError if it cannot be used, without the content."""
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
    """Why a file must not be used."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as reason:
        return f"the secret file {path.name} cannot be looked at: {reason.strerror}"
    if mode & stat.S_IRWXO:
        return (
            f"Permissions {oct(mode)} on file {path.name} are too open. It is required that your secret files are NOT "
            "accessible by others!"
        )
    return None
