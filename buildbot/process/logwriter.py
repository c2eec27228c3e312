"""The writes of a log to the database: few, one after the other, soon.

Text gathers for `FIRST_S`, so that a log that has ended by then is stored as a whole; later for `INTERVAL_S` after the
end of each write. `BATCH_CHARS` of it are written without waiting. If the database is so slow that more than
`MAX_BACKLOG_CHARS` wait, the writer asks for a pause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from buildbot.data.updates import UpdateBatch
from buildbot.process.stepcalls import failure_of
from buildbot.util.background import in_background
from buildbot.util.deferreds import Waiters

#: seconds in which the first text gathers
FIRST_S = 0.05
#: seconds between the end of one write and the next
INTERVAL_S = 0.2
#: characters that are written without waiting for the interval
BATCH_CHARS = 64 * 1024

#: characters that may wait to be written before the writer asks for a pause
MAX_BACKLOG_CHARS = 4 * 1024 * 1024


class LogUpdates(Protocol):
    """The update methods of logs; see `buildbot.data.logs.LogUpdates`."""

    def newLog(self, stepid: int, name: str, type: str, /) -> Awaitable[int]:
        """Create a log; gives its id."""

    def appendLog(self, logid: int, content: str, /) -> Awaitable[object]:
        """Append whole lines to a log."""

    def finishLog(self, logid: int, content: str, /) -> Awaitable[None]:
        """End a log with these last lines."""

    def newCompleteLog(self, stepid: int, name: str, type: str, content: str, /) -> Awaitable[int]:
        """Create a log with these lines, and end it; gives its id."""


class LogWriter:
    """Stores a log.

    Args:
        update: the master's update methods.
        reactor: for the interval between writes.
        stepid: the step that the log belongs to.
        name: its name, as it is stored.
        type: ``s``, ``t`` or ``h``.
        on_error: called once with the failure of the first write that failed; nothing more is written after it.
        on_hold_back: called with True when too much waits to be written, and with False when that is over.
        before: awaited before anything is written; it may create the log (`gather_creation`).

    Attributes:
        logid: the log's id in the database; None until it is created.
        is_wanted: whether the log is created even if no text comes.
        error: the failure of the first write that failed.
    """

    def __init__(
        self,
        update: LogUpdates,
        reactor: IReactorTime,
        stepid: int,
        name: str,
        type: str,
        on_error: Callable[[Failure], None],
        on_hold_back: Callable[[bool], None],
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.logid: int | None = None
        self.is_wanted = False
        self.error: Failure | None = None
        self._update, self._reactor = update, reactor
        self._stepid, self._name, self._type = stepid, name, type
        self._on_error, self._on_hold_back, self._before = on_error, on_hold_back, before
        self._ready: list[str] = []
        self._ready_chars = 0
        self._writing = False
        self._stopped = False
        self._held_back = False
        self._timer: IDelayedCall | None = None
        self._write_waiters = Waiters()
        self._creating = False
        self._create_waiters = Waiters()

    async def create(self) -> None:
        """Create the log in the database, if that is not done yet; a second call waits for the first."""
        await self._prepare()
        while self._creating:
            await self._create_waiters.wait()
        if self.logid is None:
            self._creating = True
            try:
                self.logid = await self._update.newLog(self._stepid, self._name, self._type)
            finally:
                self._creating = False
                self._create_waiters.release()

    async def _prepare(self) -> None:
        if self._before is not None:
            await self._before()

    def write(self, text: str) -> None:
        """Write text that ends with a newline, soon; returns at once. Nothing is written after an error."""
        if self.error is not None:
            return
        self._ready.append(text)
        self._ready_chars += len(text)
        if self._ready_chars > MAX_BACKLOG_CHARS and not self._held_back:
            self._hold_back(True)
        if self._writing or self._stopped:
            return
        if self._ready_chars >= BATCH_CHARS:
            if self._timer is not None:
                self._timer.cancel()
            self._start_writing()
        elif self._timer is None:
            self._timer = self._reactor.callLater(FIRST_S, self._start_writing)

    def _hold_back(self, hold: bool) -> None:
        self._held_back = hold
        self._on_hold_back(hold)

    def _let_come(self) -> None:
        if self._held_back and self._ready_chars <= MAX_BACKLOG_CHARS:
            self._hold_back(False)

    def _start_writing(self) -> None:
        self._timer = None
        if self._ready:
            self._writing = True
            in_background(self._write_ready(), f"log {self._name!r}")

    async def _write_ready(self) -> None:
        text = "".join(self._ready)
        self._discard()
        try:
            await self.create()
            assert self.logid is not None
            await self._update.appendLog(self.logid, text)
        except Exception:
            self.error = Failure()
            self._discard()
        self._writing = False
        self._let_come()
        if self.error is not None:
            self._on_error(self.error)
        elif self._stopped:
            pass
        elif self._ready_chars >= BATCH_CHARS:
            self._start_writing()
        else:
            self._timer = self._reactor.callLater(INTERVAL_S, self._start_writing)
        self._write_waiters.release()

    def _discard(self) -> None:
        self._ready, self._ready_chars = [], 0

    # the end of the log

    async def finish(self) -> None:
        """Write the text that is left, and end the log; without text only a log that is created or wanted.

        Raises:
            Exception: of the first write that failed; the log ends with what was written before it, if it can.
        """
        await self.stop()
        try:
            if self.error is not None:
                self.error.raiseException()
            await self._prepare()
            text = "".join(self._ready)
            self._discard()
            if self.logid is not None:
                await self._update.finishLog(self.logid, text)
            elif text or self.is_wanted:
                self.logid = await self._update.newCompleteLog(self._stepid, self._name, self._type, text)
        except Exception:
            await failure_of(self._end_as_it_is())  # the first error counts
            raise

    async def _end_as_it_is(self) -> None:
        if self.logid is not None:
            await self._update.finishLog(self.logid, "")

    async def stop(self) -> None:
        """Begin no further write, and wait for the end of the present one. No more text comes: the source may go on."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._writing:
            await self._write_waiters.wait()
        if self._held_back:  # what is left may never be stored
            self._hold_back(False)

    # in a batch, together with the step

    def gather_creation(self, batch: UpdateBatch) -> None:
        """Add the creation of the log to a batch, if it is not created yet."""
        if self.logid is None:
            batch.newLog(self._stepid, self._name, self._type).addCallback(self._created)

    def gather_end(self, batch: UpdateBatch) -> None:
        """Add the text that is left, and the end of the log, to a batch; `stop` comes first, `end_stored` after it."""
        text = "".join(self._ready)
        if self.logid is not None:
            batch.finishLog(self.logid, text)
        elif text or self.is_wanted:
            batch.newCompleteLog(self._stepid, self._name, self._type, text).addCallback(self._created)

    def end_stored(self) -> None:
        """The batch of `gather_end` is stored."""
        self._discard()

    def _created(self, logid: int) -> int:
        self.logid = logid
        return logid
