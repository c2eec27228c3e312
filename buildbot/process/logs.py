"""Logs of steps, while they are written.

A log takes pieces of text, makes lines of them (`buildbot.process.loglines`), shows these to its observers, and stores
them in the order in which they came (`buildbot.process.logwriter`), up to a limit (`buildbot.process.logtruncation`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.data.updates import UpdateBatch
from buildbot.process.defaults import NO_LIMITS, LogLimits
from buildbot.process.loglines import Encoding, LineSplitter, decoder_of, storable
from buildbot.process.logtruncation import Lines, Truncation
from buildbot.process.logwriter import LogUpdates, LogWriter
from buildbot.process.watched import blocks_named, class_name
from buildbot.util.deferreds import Waiters, deferred
from buildbot.util.redaction import Redactor

_log = Logger()

#: subscriber(stream, text): called with whole lines of a stream (``o``, ``e`` or ``h``), each with its newline; at the
#: log's end with None and None
Subscriber = Callable[[str | None, str | None], object]


class Log:
    """A log of a step, being written.

    Args:
        update: the master's update methods.
        reactor: for the interval between writes.
        stepid: the step that the log belongs to.
        name: its name.
        type: ``s`` (lines with the stream they came from), ``t`` (text) or ``h`` (HTML).
        on_error: called once with the failure of the first write that failed; nothing more is written after it.
        hold_back: called with True when too much waits to be written, with False when that is over.
        limits: how much of the log is stored. Headers (`addHeader`) of a stdio log always are.
        redactor: hides secrets in the log, and from its observers.
        encoding: of bytes that are added; the name of one that Python knows, or a function that decodes them.
        before: awaited before anything is written.

    Attributes:
        decoder: makes text of bytes.
    """

    def __init__(
        self,
        update: LogUpdates,
        reactor: IReactorTime,
        stepid: int,
        name: str,
        type: str,
        on_error: Callable[[Failure], None],
        hold_back: Callable[[bool], None],
        limits: LogLimits = NO_LIMITS,
        redactor: Redactor | None = None,
        encoding: Encoding = "utf-8",
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        redactor = Redactor() if redactor is None else redactor
        self.name = redactor.clean(name)
        self.type = type
        self.decoder = decoder_of(encoding)
        self._stepid = stepid
        self._lines = LineSplitter(redactor, cut=type == "s")
        self._truncation = None if limits.max_bytes is None else Truncation(limits.max_bytes, limits.tail_bytes)
        self._writer = LogWriter(update, reactor, stepid, storable(self.name), type, on_error, self._hold_back, before)
        self._pausable: list[Callable[[bool], object]] = [hold_back]
        self._subscribers: list[Subscriber] = []
        self._finishing = False
        self._prepared = False
        self._closed = False
        self._close_error: Failure | None = None
        self._close_waiters = Waiters()
        self._warned = False

    @property
    def logid(self) -> int | None:
        """Its id in the database; None until it is created."""
        return self._writer.logid

    async def open(self) -> None:
        """Create it in the database, if that is not done yet."""
        await self._writer.create()

    def want(self) -> None:
        """Let it be created with its first text, or at its end."""
        self._writer.is_wanted = True

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber(stream, text)`` with all lines from now on, and ``subscriber(None, None)`` at the end."""
        self._subscribers.append(subscriber)

    def on_hold_back(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback(True)`` when too much waits to be written, and ``callback(False)`` when that is over."""
        self._pausable.append(callback)

    def _hold_back(self, hold: bool) -> None:
        for callback in self._pausable:
            callback(hold)

    def getName(self) -> str:
        """Its name."""
        return self.name

    @property
    def is_finished(self) -> bool:
        """Whether it takes no more text."""
        return self._finishing

    def had_errors(self) -> bool:
        """Whether something could not be written."""
        return self._writer.error is not None or self._close_error is not None

    def addStdout(self, text: str | bytes) -> Deferred[None]:
        """Add output to a stdio log."""
        return self._add("o", text)

    def addStderr(self, text: str | bytes) -> Deferred[None]:
        """Add error output to a stdio log."""
        return self._add("e", text)

    def addHeader(self, text: str | bytes) -> Deferred[None]:
        """Add a message of the master or the worker to a stdio log."""
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
        """Add text of a stream; returns at once. Text that comes after `finish` is dropped, with a warning."""
        if self._finishing:
            if not self._warned:
                _log.warn("log {name!r} of step {step} is finished; more came", name=self.name, step=self._stepid)
            self._warned = True
            return
        self._write(stream, text)

    @deferred
    async def flush(self) -> None:
        """End the unfinished lines."""
        self._end_lines()

    def _end_lines(self) -> None:
        for stream in self._lines.unfinished:
            self._write(stream, "\n")

    def _write(self, stream: str, text: str) -> None:
        lines = self._lines.split(stream, text)
        if not lines:
            return
        if self._subscribers:
            self._tell(stream, "\n".join([*lines, ""]))
        if self._writer.error is not None:
            return
        if self._truncation is None or (self.type == "s" and stream == "h"):
            self._store(stream, lines)
        else:
            self._store_all(self._truncation.stored(stream, lines))

    def _tell(self, stream: str | None, text: str | None) -> None:
        for subscriber in self._subscribers:
            owner = type(getattr(subscriber, "__self__", subscriber))
            try:
                with blocks_named(f"observer {class_name(owner)} of log {self.name!r}"):
                    subscriber(stream, text)
            except Exception:
                _log.failure("an observer of log {name!r} failed", name=self.name)

    def _store_all(self, parts: Iterable[Lines]) -> None:
        for stream, lines in parts:
            if lines:
                self._store(stream, lines)

    def _store(self, stream: str, lines: list[str]) -> None:
        prefix = stream if self.type == "s" else ""
        self._writer.write(prefix + ("\n" + prefix).join(lines) + "\n")

    @deferred
    async def finish(self) -> None:
        """Write the text that is left and close the log. A second call waits for the same end.

        Raises:
            Exception: of the first write that failed.
        """
        if self._finishing:
            await self._until_closed()
        else:
            await self.close()

    async def _until_closed(self) -> None:
        if not self._closed:
            await self._close_waiters.wait()
        if self._close_error is not None:
            self._close_error.raiseException()

    async def close(self) -> None:
        """As `finish`, also after `prepare_end`, if its end was not stored with that of the step."""
        if self._finishing and not self._prepared:
            await self._until_closed()
            return
        self._take_no_more()
        self._prepared = False
        try:
            await self._writer.finish()
        except Exception:
            self._close_error = Failure()
            raise
        finally:
            self._has_closed()

    def _take_no_more(self) -> None:
        if not self._finishing:
            self._end_lines()
            if self._truncation is not None:
                self._store_all(self._truncation.end())
            self._finishing = True
            self._tell(None, None)

    def _has_closed(self) -> None:
        self._closed = True
        self._close_waiters.release()

    # its end, stored together with that of its step

    async def prepare_end(self) -> bool:
        """Take no more text, and wait for the present write; `gather_end` can then store the rest with the step's end.

        Returns:
            False if a write failed: `close` raises its error.
        """
        if not self._finishing:
            self._take_no_more()
            self._prepared = True
        elif not self._closed and not self._prepared:
            await self._close_waiters.wait()
        await self._writer.stop()
        return not self.had_errors()

    def gather_end(self, batch: UpdateBatch) -> None:
        """Add the text that is left, and the end, to a batch; if that cannot be stored, `close` does it alone.

        A log that was not prepared has an end of its own.
        """
        if self._prepared:
            self._writer.gather_end(batch)

    def end_stored(self) -> None:
        """The batch is stored."""
        if self._prepared:
            self._writer.end_stored()
            self._prepared = False
            self._has_closed()

    def gather_open(self, batch: UpdateBatch) -> None:
        """Add its creation to a batch."""
        self._writer.gather_creation(batch)


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
