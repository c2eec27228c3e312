"""Observers of logs: a step attaches them to read its logs while these are written.

``self.addLogObserver("stdio", observer)`` attaches one, before or after the log begins; it gets the lines from then on.
Its methods must not return Deferreds. Their errors go to the master's log.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from buildbot.process.logs import Log

#: characters that a `BufferLogObserver` keeps
MAX_BUFFERED_CHARS = 32 * 1024 * 1024


class LogObserver:
    """Gets whole lines, several at once, each with its newline.

    Attributes:
        step: the step of the log.
        log: the log; None until it begins.
    """

    step: Any = None
    log: Log | None = None

    def setStep(self, step: Any) -> None:
        """The step that it is added to."""
        self.step = step

    def setLog(self, log: Log) -> None:
        """The log has begun."""
        self.log = log
        log.subscribe(self.__received)

    def __received(self, stream: str | None, text: str | None) -> None:
        if stream is None or text is None:
            self.finishReceived()
        elif stream == "e":
            self.errReceived(text)
        elif stream == "h":
            self.headerReceived(text)
        else:
            self.outReceived(text)

    def outReceived(self, data: str) -> None:
        """Lines of standard output, or of a text or HTML log."""

    def errReceived(self, data: str) -> None:
        """Lines of error output."""

    def headerReceived(self, data: str) -> None:
        """Header lines, of the worker or the master."""

    def finishReceived(self) -> None:
        """The log has ended."""


class LogLineObserver(LogObserver):
    """Gets one line at a time, without its newline."""

    def outReceived(self, data: str) -> None:
        """Hand out single lines."""
        self.__each(data, self.outLineReceived)

    def errReceived(self, data: str) -> None:
        """Hand out single lines."""
        self.__each(data, self.errLineReceived)

    def headerReceived(self, data: str) -> None:
        """Hand out single lines."""
        self.__each(data, self.headerLineReceived)

    def __each(self, data: str, receive: Callable[[str], object]) -> None:
        for line in data[:-1].split("\n"):
            receive(line)

    def setMaxLineLength(self, max_length: int) -> None:
        """Has no effect; lines are cut at `buildbot.process.loglines.MAX_LINE_CHARS`."""

    def outLineReceived(self, line: str) -> None:
        """A line of standard output, or of a text or HTML log."""

    def errLineReceived(self, line: str) -> None:
        """A line of error output."""

    def headerLineReceived(self, line: str) -> None:
        """A header line, of the worker or the master."""


class LineConsumerLogObserver(LogLineObserver):
    """Feeds lines to a generator: ``stream, line = yield`` with ``o``, ``e`` or ``h``; GeneratorExit is the end.

    Args:
        consumerFunction: called without arguments for the generator, when the first line comes.
    """

    def __init__(self, consumerFunction: Callable[[], Generator[Any, tuple[str, str], Any]]) -> None:
        self.__function = consumerFunction
        self.__generator: Generator[Any, tuple[str, str], Any] | None = None
        self.__ended = False

    def __feed(self, stream: str, line: str) -> None:
        if self.__ended:
            return
        try:
            if self.__generator is None:
                self.__generator = self.__function()
                next(self.__generator)
            self.__generator.send((stream, line))
        except StopIteration:
            self.__ended = True
        except Exception:
            self.__ended = True
            raise

    def outLineReceived(self, line: str) -> None:
        """Feed it."""
        self.__feed("o", line)

    def errLineReceived(self, line: str) -> None:
        """Feed it."""
        self.__feed("e", line)

    def headerLineReceived(self, line: str) -> None:
        """Feed it."""
        self.__feed("h", line)

    def finishReceived(self) -> None:
        """End the generator."""
        if self.__generator is not None:
            self.__generator.close()


class BufferLogObserver(LogObserver):
    """Keeps the output, up to `MAX_BUFFERED_CHARS`.

    Args:
        wantStdout, wantStderr: whether it keeps this stream.
    """

    def __init__(self, wantStdout: bool = True, wantStderr: bool = False) -> None:
        self.__kept: dict[str, list[str] | None] = {"o": [] if wantStdout else None, "e": [] if wantStderr else None}
        self.__chars = 0

    def outReceived(self, data: str) -> None:
        """Keep it."""
        self.__keep("o", data)

    def errReceived(self, data: str) -> None:
        """Keep it."""
        self.__keep("e", data)

    def __keep(self, stream: str, data: str) -> None:
        kept = self.__kept[stream]
        if kept is not None:
            self.__chars += len(data)
            if self.__chars <= MAX_BUFFERED_CHARS:
                kept.append(data)

    def getStdout(self) -> str:
        """Standard output so far. ValueError if there was more than it can keep."""
        return self.__text("o")

    def getStderr(self) -> str:
        """Error output so far. ValueError if there was more than it can keep."""
        return self.__text("e")

    def __text(self, stream: str) -> str:
        if self.__chars > MAX_BUFFERED_CHARS:
            raise ValueError(f"more than {MAX_BUFFERED_CHARS} characters of output, too many to be kept")
        return "".join(self.__kept[stream] or ())


class OutputProgressObserver(LogObserver):
    """Reports the number of characters so far as the progress of its step; see `BuildStep.setProgress`.

    Args:
        name: one of the step's ``progressMetrics``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.__chars = 0

    def __count(self, data: str) -> None:
        self.__chars += len(data)
        self.step.setProgress(self.name, self.__chars)

    def outReceived(self, data: str) -> None:
        """Count it."""
        self.__count(data)

    def errReceived(self, data: str) -> None:
        """Count it."""
        self.__count(data)
