"""Logs of steps: lines stored in the order in which they came, in few writes and without making readers wait.

The first lines are written at once; while that goes on, and for `INTERVAL_S` after it, further ones gather and go out
together, sooner if there are `BATCH_CHARS` of them. There is never more than one write of a log under way. Each stream
keeps its unfinished line until the rest of it comes, `Log.flush` is called or the log is finished. A line of output
that grows beyond `MAX_LINE_CHARS` goes on in a line of its own, so that a program that ends no line costs no memory. If
the database is so slow that more than `MAX_BACKLOG_CHARS` wait, whoever feeds the log is asked to pause.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.data.updates import UpdateBatch
from buildbot.process.defaults import NO_LIMITS, LogLimits
from buildbot.process.watched import blocks_named, class_name
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred
from buildbot.util.redaction import Redactor

_log = Logger()

#: seconds between the end of one write and the next
INTERVAL_S = 0.2
#: characters that are written without waiting for the interval
BATCH_CHARS = 64 * 1024

#: characters that may wait to be written before the writer of the log is asked to pause
MAX_BACKLOG_CHARS = 4 * 1024 * 1024

#: characters of a line of output; what is longer goes on in the next line
MAX_LINE_CHARS = 1024 * 1024

#: subscriber(stream, text): called with whole lines of a stream (``o``, ``e`` or ``h``), each with its newline; at the
#: log's end with None and None
Subscriber = Callable[[str | None, str | None], object]


#: how bytes become text: the name of an encoding that Python knows, or a function
Encoding = str | Callable[[bytes], str]


def decoder_of(encoding: Encoding) -> Callable[[bytes], str]:
    """What makes text of bytes; what cannot be read becomes U+FFFD."""
    if callable(encoding):
        return encoding
    return lambda data: data.decode(encoding, "replace")


def storable(text: str) -> str:
    """``text`` without what no database keeps: NUL and lone surrogates become U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Partial:
    """The beginning of a line, kept in the pieces in which it came."""

    def __init__(self, text: str = "") -> None:
        self._texts, self.chars = [text], len(text)

    def add(self, text: str) -> None:
        """More of the line."""
        self._texts.append(text)
        self.chars += len(text)

    def text(self) -> str:
        """The line so far."""
        return "".join(self._texts)


def _pieces(line: str) -> list[str]:
    """A line, cut where it is too long; at least one piece."""
    return [line[at : at + MAX_LINE_CHARS] for at in range(0, len(line), MAX_LINE_CHARS)] or [line]


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
        limits: how much of it is kept. Words of the master and the worker (`addHeader`) always are.
        redactor: hides secrets in it, from whoever observes it too.
        encoding: of bytes that are added; the name of one that Python knows, or a function that makes text of bytes.

    Attributes:
        decoder: makes text of bytes.
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
        limits: LogLimits = NO_LIMITS,
        redactor: Redactor | None = None,
        encoding: Encoding = "utf-8",
    ) -> None:
        self._redactor = Redactor() if redactor is None else redactor
        self.name = self._redactor.clean(name)
        self.type = type
        self.decoder = decoder_of(encoding)
        self.logid: int | None = None
        self._update = update
        self._reactor = reactor
        self._stepid = stepid
        self._on_error = on_error
        self._holders: list[Callable[[bool], object]] = [hold_back]
        self._limits = limits
        self._kept_bytes = 0
        self._cut = False
        self._tail: deque[tuple[str, str, int]] = deque()
        self._tail_bytes = 0
        self._congested = False
        self._partial: dict[str, _Partial] = {}
        self._ready: list[str] = []
        self._ready_chars = 0
        self._busy = False
        self._finishing = False
        self._prepared = False
        self._waiting: list[Deferred[None]] = []
        self._timer: Any = None
        self._error: Failure | None = None
        self._subscribers: list[Subscriber] = []
        self._closed = False
        self._not_closed: Failure | None = None
        self._on_closed: list[Deferred[None]] = []
        self._late = False

    async def open(self) -> None:
        """Create it in the database, if that is not done yet."""
        if self.logid is None:
            self.logid = await self._update.newLog(self._stepid, storable(self.name), self.type)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber(stream, text)`` with all lines from now on, and ``subscriber(None, None)`` at the end."""
        self._subscribers.append(subscriber)

    def on_hold_back(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback(True)`` when too much waits to be written, and ``callback(False)`` when that is over."""
        self._holders.append(callback)

    def _hold(self, hold: bool) -> None:
        self._congested = hold
        for callback in self._holders:
            callback(hold)

    def getName(self) -> str:
        """Its name."""
        return self.name

    def had_errors(self) -> bool:
        """Whether something could not be written."""
        return self._error is not None or self._not_closed is not None

    def addStdout(self, text: str | bytes) -> Deferred[None]:
        """Add output to a stdio log."""
        return self._add("o", text)

    def addStderr(self, text: str | bytes) -> Deferred[None]:
        """Add error output to a stdio log."""
        return self._add("e", text)

    def addHeader(self, text: str | bytes) -> Deferred[None]:
        """Add words of the master or the worker to a stdio log."""
        return self._add("h", text)

    def addContent(self, text: str | bytes) -> Deferred[None]:
        """Add to a text or HTML log."""
        return self._add("o", text)

    def _add(self, stream: str, text: str | bytes) -> Deferred[None]:
        if self._finishing:
            raise ValueError(f"log {self.name!r} is finished, nothing can be added")
        if isinstance(text, bytes):
            text = self.decoder(text)
        if not isinstance(text, str):
            raise TypeError(f"log {self.name!r} takes texts, not {text!r}")
        self.write(stream, text)
        return succeed(None)

    def write(self, stream: str, text: str) -> None:
        """Add text of a stream; returns at once. What comes after `finish` is dropped, and the master's log says so."""
        if self._finishing:
            if not self._late:
                _log.warn("log {name!r} of step {step} is finished; more came", name=self.name, step=self._stepid)
            self._late = True
            return
        self._write(stream, text)

    @deferred
    async def flush(self) -> None:
        """End the unfinished lines."""
        self._end_lines()

    def _end_lines(self) -> None:
        for stream in list(self._partial):
            self._write(stream, "\n")

    def _write(self, stream: str, text: str) -> None:
        whole, newline, rest = text.rpartition("\n")
        lines = whole.split("\n") if newline else []
        if stream in self._partial and lines:
            lines[0] = self._partial.pop(stream).text() + lines[0]
        if rest:
            partial = self._partial.setdefault(stream, _Partial())
            partial.add(rest)
            if self.type == "s" and partial.chars > MAX_LINE_CHARS:
                *cut, rest = self._cut_off(partial.text())
                lines += cut
                self._partial[stream] = _Partial(rest)
        if self._redactor:
            lines = list(map(self._redactor.clean, lines))
        if self.type == "s" and lines and max(map(len, lines)) > MAX_LINE_CHARS:
            lines = [piece for line in lines for piece in _pieces(line)]
        if lines:
            self._add_lines(stream, lines)

    def _cut_off(self, line: str) -> list[str]:
        """The pieces of a line that goes on; a secret whose end has not come yet stays in the last one."""
        line = self._redactor.clean(line)
        undecided = len(line) - max(self._redactor.longest - 1, 0)
        *cut, rest = _pieces(line[:undecided])
        return [*cut, rest + line[undecided:]]

    def _tell(self, stream: str | None, text: str | None) -> None:
        for subscriber in self._subscribers:
            owner = type(getattr(subscriber, "__self__", subscriber))
            try:
                with blocks_named(f"observer {class_name(owner)} of log {self.name!r}"):
                    subscriber(stream, text)
            except Exception:
                _log.failure("an observer of log {name!r} failed", name=self.name)

    def _add_lines(self, stream: str, lines: list[str]) -> None:
        if self._subscribers:
            self._tell(stream, "\n".join([*lines, ""]))
        if self._error is not None:
            return
        if self._limits.max_bytes is not None and not (self.type == "s" and stream == "h"):
            lines = self._within_limits(stream, lines, self._limits.max_bytes)
            if not lines:
                return
        self._keep(stream, lines)

    def _within_limits(self, stream: str, lines: list[str], max_bytes: int) -> list[str]:
        """The lines that are still kept; of the others so many as make the end of the log."""
        kept = []
        for line in lines:
            size = len(line.encode("utf-8", "replace")) + 1
            if not self._cut and self._kept_bytes + size <= max_bytes:
                self._kept_bytes += size
                kept.append(line)
                continue
            if not self._cut:
                self._cut = True
                self._keep(stream, kept)
                kept = []
                self._say(f"Output exceeded {max_bytes} bytes, remaining output has been truncated")
            self._tail.append((stream, line, size))
            self._tail_bytes += size
            while self._tail_bytes > self._limits.tail_bytes:
                self._tail_bytes -= self._tail.popleft()[2]
        return kept

    def _keep_tail(self) -> None:
        if self._tail:
            self._say(f"Final {self._tail_bytes} bytes follow below:")
            for stream, line, _ in self._tail:
                self._keep(stream, [line])
            self._tail.clear()

    def _say(self, words: str) -> None:
        self._keep("h", [words])

    def _keep(self, stream: str, lines: list[str]) -> None:
        """Write these lines, soon."""
        if not lines:
            return
        prefix = stream if self.type == "s" else ""
        text = prefix + ("\n" + prefix).join(lines) + "\n"
        self._ready.append(text)
        self._ready_chars += len(text)
        if self._ready_chars > MAX_BACKLOG_CHARS and not self._congested:
            self._hold(True)
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
            self._hold(False)
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
        """Write what is left and close the log. A second call does nothing but wait for the same end.

        Raises:
            Exception: what the first failed write raised.
        """
        if self._finishing and not self._prepared:
            if not self._closed:
                await self._wait(self._on_closed)
            if self._not_closed is not None:
                self._not_closed.raiseException()
            return
        self._take_no_more()
        self._prepared = False
        try:
            await self._close()
        except Exception:
            self._not_closed = Failure()
            raise
        finally:
            self._has_closed()

    def _take_no_more(self) -> None:
        if not self._finishing:
            self._end_lines()
            self._keep_tail()
            self._finishing = True
            self._tell(None, None)

    def _has_closed(self) -> None:
        self._closed = True
        for each in self._on_closed:
            each.callback(None)

    # its end together with that of its step

    async def prepare_end(self) -> bool:
        """Take nothing more, and wait for what is being written; what is left can then be stored with the step's end.

        Returns:
            False if a write failed: `finish` says so.
        """
        if not self._finishing:
            self._take_no_more()
            self._prepared = True
        elif not self._closed and not self._prepared:
            await self._wait(self._on_closed)
        self._cancel_timer()
        while self._busy:
            await self._wait(self._waiting)
        return self._error is None and self._not_closed is None

    def gather_end(self, batch: UpdateBatch) -> None:
        """Add the lines that are left, and the end, to a batch; `finish` does it alone if that cannot be stored."""
        if self._closed:
            return
        logid: Any = self.logid
        if self._ready and logid is None:
            opened = batch.newLog(self._stepid, storable(self.name), self.type)
            opened.addCallback(self._is_open)
            logid = batch.result(opened)
        if self._ready:
            batch.appendLog(logid, "".join(self._ready))
        if logid is not None:
            batch.finishLog(logid)

    def end_stored(self) -> None:
        """The batch is stored."""
        if not self._closed:
            self._ready, self._ready_chars = [], 0
            self._prepared = False
            self._has_closed()

    def gather_open(self, batch: UpdateBatch) -> None:
        """Add its creation to a batch."""
        if self.logid is None:
            batch.newLog(self._stepid, storable(self.name), self.type).addCallback(self._is_open)

    def _is_open(self, logid: int | None) -> int | None:
        self.logid = logid if logid is not None else self.logid
        return logid

    async def _close(self) -> None:
        self._cancel_timer()
        while self._busy or self._ready:
            if self._busy:
                await self._wait(self._waiting)
            else:
                self._start_writing()
        if self._error is not None:
            self._error.raiseException()
        if self.logid is not None:
            await self._update.finishLog(self.logid)

    async def _wait(self, waiting: list[Deferred[None]]) -> None:
        end: Deferred[None] = Deferred()
        waiting.append(end)
        await end

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class PlainLog(Log):
    """A log of text without streams."""


class TextLog(PlainLog):
    """A log of text."""


class HtmlLog(PlainLog):
    """A log that pages show as HTML."""


class StreamLog(Log):
    """A log of output: each line has the stream that it came from."""


#: the class of a log of each type
CLASSES: Mapping[str, type[Log]] = {"s": StreamLog, "t": TextLog, "h": HtmlLog}
