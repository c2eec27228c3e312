"""Logs of steps: lines stored in the order in which they came, in few writes and without making readers wait.

The first lines are written at once; while that goes on, and for `INTERVAL_S` after it, further ones gather and go out
together, sooner if there are `BATCH_CHARS` of them. There is never more than one write of a log under way. Each stream
keeps its unfinished line until the rest of it comes or the log is finished. If the database is so slow that more than
`MAX_BACKLOG_CHARS` wait, whoever feeds the log is asked to pause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred

#: seconds between the end of one write and the next
INTERVAL_S = 0.2
#: characters that are written without waiting for the interval
BATCH_CHARS = 64 * 1024

#: characters that may wait before whoever feeds the log is asked to pause
MAX_BACKLOG_CHARS = 4 * 1024 * 1024

#: observer(stream, line): called with each whole line, without its newline
Observer = Callable[[str, str], None]


def storable(text: str) -> str:
    """``text`` without what no database keeps: NUL and lone surrogates become U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Log:
    """A log of a step, being written.

    Args:
        update: the master's update methods.
        reactor: for the interval between writes.
        stepid: the step that it belongs to.
        name: its name.
        type: ``s`` (lines with the stream they came from), ``t`` (text) or ``h`` (HTML).
        on_error: called once with the first write that failed; nothing more is written then.
        hold_back: called with True when too much waits to be written, with False when that is over.

    Attributes:
        logid: its id in the database; None until it is opened.
    """

    def __init__(
        self,
        update: Any,
        reactor: Any,
        stepid: int,
        name: str,
        type: str,
        on_error: Callable[[Failure], None],
        hold_back: Callable[[bool], None],
    ) -> None:
        self.name = name
        self.type = type
        self.logid: int | None = None
        self._update = update
        self._reactor = reactor
        self._stepid = stepid
        self._on_error = on_error
        self._hold_back = hold_back
        self._congested = False
        self._partial: dict[str, str] = {}
        self._ready: list[str] = []
        self._ready_chars = 0
        self._busy = False
        self._finishing = False
        self._waiting: list[Deferred[None]] = []
        self._timer: Any = None
        self._error: Failure | None = None
        self._observers: list[Observer] = []

    async def open(self) -> None:
        """Create it in the database, if that is not done yet."""
        if self.logid is None:
            self.logid = await self._update.newLog(self._stepid, storable(self.name), self.type)

    def observe(self, observer: Observer) -> None:
        """Call ``observer(stream, line)`` for each line from now on; the stream is ``o``, ``e`` or ``h``."""
        self._observers.append(observer)

    def addStdout(self, text: str) -> Deferred[None]:
        """Add output to a stdio log."""
        return self._add("o", text)

    def addStderr(self, text: str) -> Deferred[None]:
        """Add error output to a stdio log."""
        return self._add("e", text)

    def addHeader(self, text: str) -> Deferred[None]:
        """Add words of the master or the worker to a stdio log."""
        return self._add("h", text)

    def addContent(self, text: str) -> Deferred[None]:
        """Add to a text or HTML log."""
        return self._add("o", text)

    def _add(self, stream: str, text: str) -> Deferred[None]:
        self.write(stream, text)
        return succeed(None)

    def write(self, stream: str, text: str) -> None:
        """Add text of a stream; returns at once."""
        whole, newline, rest = (self._partial.pop(stream, "") + text).rpartition("\n")
        if rest:
            self._partial[stream] = rest
        if newline:
            self._add_lines(stream, whole.split("\n"))

    def _add_lines(self, stream: str, lines: list[str]) -> None:
        for observer in self._observers:
            for line in lines:
                observer(stream, line)
        if self._error is not None:
            return
        prefix = stream if self.type == "s" else ""
        text = "".join(f"{prefix}{line}\n" for line in lines)
        self._ready.append(text)
        self._ready_chars += len(text)
        if self._ready_chars > MAX_BACKLOG_CHARS and not self._congested:
            self._congested = True
            self._hold_back(True)
        if self._busy:
            return
        if self._timer is None:
            self._start_writing()
        elif self._ready_chars >= BATCH_CHARS:
            self._timer.cancel()
            self._start_writing()

    def _start_writing(self) -> None:
        self._timer = None
        if self._ready:
            self._busy = True
            in_background(self._write_ready(), f"log {self.name!r}")

    async def _write_ready(self) -> None:
        text = "".join(self._ready)
        self._ready, self._ready_chars = [], 0
        try:
            await self.open()
            await self._update.appendLog(self.logid, text)
        except Exception:
            self._error = Failure()
            self._ready, self._ready_chars = [], 0
        self._busy = False
        if self._congested and self._ready_chars <= MAX_BACKLOG_CHARS:
            self._congested = False
            self._hold_back(False)
        if self._error is not None:
            self._on_error(self._error)
        elif self._ready_chars >= BATCH_CHARS:
            self._start_writing()
        elif not self._finishing:
            self._timer = self._reactor.callLater(INTERVAL_S, self._start_writing)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    @deferred
    async def finish(self) -> None:
        """Write what is left and close the log.

        Raises:
            Exception: what the first failed write raised.
        """
        self._finishing = True
        for stream in list(self._partial):
            self.write(stream, "\n")
        self._cancel_timer()
        while self._busy or self._ready:
            if self._busy:
                written: Deferred[None] = Deferred()
                self._waiting.append(written)
                await written
            else:
                self._start_writing()
        if self._error is not None:
            self._error.raiseException()
        if self.logid is not None:
            await self._update.finishLog(self.logid)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
