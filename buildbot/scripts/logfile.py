"""twistd.log: the master writes and rotates it, and commands that wait for the master follow it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.logfile import LogFile

from buildbot.scripts.settings import Settings
from buildbot.util.redaction import known

#: permissions of a log: the master's account may write it, its group may read it
LOG_MODE = 0o640


def begin(path: Path, settings: Settings, echo: IO[Any] | None = None) -> None:
    """Begin to write all log events to a file.

    Args:
        path: the log file.
        settings: when it is rotated; ``.1`` is the newest of the rotated files.
        echo: a stream that gets the same text, or None; with a stream, standard output is not redirected to the log.

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
    # Twisted's stubs do not know that a LogFile can be written like a file, nor the implementers of interfaces
    observers: list[Any] = [textFileLogObserver(cast(IO[Any], _WithoutSecrets(file)))]
    if echo is not None:
        observers.append(textFileLogObserver(cast(IO[Any], _WithoutSecrets(echo))))
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=echo is None)


class _WithoutSecrets:
    """Writes to a file, with the values of secrets replaced by their names; each text is a whole event."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.encoding = getattr(file, "encoding", None)

    def write(self, text: str) -> None:
        """Write the text of an event."""
        self._file.write(known.clean(text))

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()


class Follower:
    """Reads the lines that are added to a log from now on, across rotation.

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
