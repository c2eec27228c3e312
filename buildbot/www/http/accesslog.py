"""The log of requests, in the combined format of web servers' logs.

Lines gather for a moment and are written together: a write for each request would cost too much.
"""

from __future__ import annotations

import time
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from buildbot.www.http.messages import Request, Response

_log = Logger()

#: seconds for which lines gather, and the number of lines that may wait
DELAY_S = 1.0
_MOST_LINES = 500


class LogFile(Protocol):
    """A log file: `twisted.python.logfile.LogFile`."""

    def write(self, data: str) -> object:
        """Add a text."""

    def close(self) -> object:
        """Close the file."""


class AccessLog:
    """Writes a line for each request.

    Args:
        reactor: for time.
        file: the file to write to; None: the master's log.
    """

    def __init__(self, reactor: IReactorTime, file: LogFile | None) -> None:
        self._reactor = reactor
        self._file = file
        self._lines: list[str] = []
        self._timer: IDelayedCall | None = None
        self._time = (0, "")

    def add(self, request: Request, response: Response) -> None:
        """A request has been answered."""
        headers = request.headers
        length = len(response.body) if isinstance(response.body, bytes) else "-"
        target = f"{request.path}?{request.query}" if request.query else request.path
        referer, agent = headers.get("referer") or "-", headers.get("user-agent") or "-"
        client = request.client
        if not _is_plain(f"{client}{target}{referer}{agent}"):
            client, target, referer, agent = map(_plain, (client, target, referer, agent))
        line = (
            f'"{client}" - - [{self._now()}] "{request.method} {target} HTTP/1.1" '
            f'{response.status} {length} "{referer}" "{agent}"'
        )
        if self._file is None:
            _log.info("{line}", line=line)
            return
        self._lines.append(line)
        if len(self._lines) >= _MOST_LINES:
            self._write()
        elif self._timer is None:
            self._timer = self._reactor.callLater(DELAY_S, self._write)

    def close(self) -> None:
        """Write the waiting lines, and close the file."""
        self._write()
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        lines, self._lines = self._lines, []
        if lines and self._file is not None:
            try:
                self._file.write("\n".join(lines) + "\n")
            except OSError as problem:
                _log.error("the log of requests cannot be written: {reason}", reason=problem.strerror)

    def _now(self) -> str:
        now = int(time.time())
        if now != self._time[0]:
            self._time = (now, time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)))
        return self._time[1]


def _is_plain(text: str) -> bool:
    """Whether a text has neither quotes nor line ends."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def _plain(text: str) -> str:
    """A text without quotes and line ends."""
    return text if _is_plain(text) else text.encode("unicode_escape").decode().replace('"', '\\"')
