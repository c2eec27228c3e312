"""twistd.log: written with rotation by the master, followed by the commands that wait for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.logfile import LogFile

from buildbot.scripts.settings import Settings
from buildbot.util.redaction import known

#: who may read a log: the master's account and its group
LOG_MODE = 0o640


def begin(path: Path, settings: Settings, echo: IO[Any] | None = None) -> None:
    """Send everything that is logged to ``path``.

    Args:
        path: the log file; rotated by size as ``settings`` say (``.1`` is the newest of the old).
        echo: a stream that gets the same text; then standard output stays as it is.

    Raises:
        OSError: the file cannot be written.
    """
    file = LogFile(
        path.name,
        str(path.parent),
        rotateLength=settings.rotateLength or None,
        maxRotatedFiles=settings.maxRotatedFiles,
        defaultMode=LOG_MODE,
    )
    # Twisted's stubs know neither that a LogFile is written to as a file nor what implements its interfaces.
    observers: list[Any] = [textFileLogObserver(cast(IO[Any], _WithoutSecrets(file)))]
    if echo is not None:
        observers.append(textFileLogObserver(cast(IO[Any], _WithoutSecrets(echo))))
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=echo is None)


class _WithoutSecrets:
    """A file that gets texts, a whole event each, with the names of secrets in place of their values."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.encoding = getattr(file, "encoding", None)

    def write(self, text: str) -> None:
        """A text of an event."""
        self._file.write(known.clean(text))

    def flush(self) -> None:
        """Have it written."""
        self._file.flush()


class Follower:
    """The lines that are added to a log from now on, across rotation.

    Args:
        path: the log file, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""
        if path.exists():
            self._file = path.open("rb")
            self._file.seek(0, os.SEEK_END)

    def lines(self) -> Iterator[str]:
        """The complete lines added since the last call."""
        if self._file is None:
            if not self._path.exists():
                return
            self._file = self._path.open("rb")
        yield from self._read()
        if self._rotated():
            self._file.close()
            self._file = self._path.open("rb")
            yield from self._read()

    def _read(self) -> Iterator[str]:
        assert self._file is not None
        *complete, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in complete:
            yield line.decode(errors="replace")

    def _rotated(self) -> bool:
        assert self._file is not None
        opened = os.fstat(self._file.fileno())
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False
        return (opened.st_dev, opened.st_ino) != (now.st_dev, now.st_ino)
