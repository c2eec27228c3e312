"""The logs of a step, and their observers."""

from __future__ import annotations

import html
import traceback

from twisted.python.failure import Failure

from buildbot.data.updates import UpdateBatch
from buildbot.process.loglines import decoder_of
from buildbot.process.logs import CLASSES, Log
from buildbot.process.stepcalls import failure_of
from buildbot.process.stepcontract import ILogObserver, RunningStep
from buildbot.process.stepopening import StepOpening


class StepLogs:
    """The logs of a step.

    Args:
        step: the step.
        opening: creates its logs.
    """

    def __init__(self, step: RunningStep, opening: StepOpening) -> None:
        self._step, self._opening = step, opening
        self._by_name: dict[str, Log] = {}
        self._open: list[Log] = []
        self._observers: dict[str, list[ILogObserver]] = {}

    def is_open(self, name: str) -> bool:
        """Whether there is a log of this name that takes more text."""
        return name in self._by_name and not self._by_name[name].is_finished

    def __getitem__(self, name: str) -> Log:
        return self._by_name[name]

    async def add(self, name: str, type: str, encoding: str | None = None) -> Log:
        """Begin a log, and create it; see `BuildStep.addLog`."""
        log = self._make(name, type, encoding)
        await self._create(log)
        return log

    def of_command(self, name: str) -> Log:
        """The log of a command's output: the open one of this name, or a new one, which is created soon."""
        log = self._by_name.get(name)
        if log is None or log.is_finished:
            log = self._make(name, "s")
            self._opening.create(log)
        return log

    async def watched(self, name: str, lazy: object) -> Log:
        """The log of a file that a command watches: the open one of this name, or a new one.

        A lazy log is stored when its first text comes.
        """
        log = self._by_name.get(name)
        if log is None or log.is_finished:
            log = self._make(name, "s")
        if not lazy:
            await self._create(log)
        return log

    async def add_complete(self, name: str, type: str, text: str | bytes) -> None:
        """Add a finished log; bytes are decoded as the step's `logEncoding` says."""
        if isinstance(text, bytes):
            text = decoder_of(self._step.logEncoding or "utf-8")(text)
        log = self._make(name, type)
        log.want()
        log.write("o", text)
        await log.finish()
        if log in self._open:
            self._open.remove(log)

    async def add_failure(self, why: Failure | BaseException, prefix: str) -> None:
        """Add the logs ``err.text`` and ``err.html`` with a failure; ``prefix`` comes before their names."""
        problem = why.value if isinstance(why, Failure) else why
        text = "no traceback\n" if problem is None else "".join(traceback.format_exception(problem))
        await self.add_complete(f"{prefix}err.text", "t", text)
        await self.add_complete(f"{prefix}err.html", "h", f"<pre>{html.escape(text)}</pre>\n")

    def observe(self, name: str, observer: ILogObserver) -> None:
        """Let an observer get the lines of a log from now on, or once it is begun."""
        observer.setStep(self._step)
        self._observers.setdefault(name, []).append(observer)
        if name in self._by_name:
            observer.setLog(self._by_name[name])

    async def prepare_end(self) -> bool:
        """Prepare all open logs for `gather_end`; False if a write has failed."""
        # a copy: an observer that hears of the end of a log may add another one
        for log in list(self._open):
            if not await log.prepare_end():
                return False
        return True

    def gather_end(self, batch: UpdateBatch) -> None:
        """Add the rest of all open logs to a batch."""
        for log in self._open:
            log.gather_end(batch)

    def end_stored(self) -> None:
        """The batch of `gather_end` is stored."""
        for log in self._open:
            log.end_stored()

    async def close(self) -> None:
        """Finish all open logs; each, even if another one cannot be finished. Raises the first failure, once."""
        logs, self._open = self._open, []
        problems = [await failure_of(log.close()) for log in logs]
        for problem in filter(None, problems):
            problem.raiseException()

    def _make(self, name: str, type: str, encoding: str | None = None) -> Log:
        step = self._step
        update, reactor = step.master.data.update, step.master.reactor
        if type not in CLASSES:
            raise ValueError(f"there are logs of the types {', '.join(CLASSES)}, not {type!r}")
        log = self._by_name[name] = CLASSES[type](
            update, reactor, step.stepid, name, type, step.build.write_failed, step.build.connection.hold_back,
            step.build.builder.defaults.logs, step.build.properties.redactor,
            encoding or step.logEncoding or "utf-8", self._opening.store,
        )  # fmt: skip
        self._open.append(log)
        for observer in self._observers.get(name, ()):
            observer.setLog(log)
        return log

    async def _create(self, log: Log) -> None:
        log.want()
        await self._opening.store(log)
        await log.open()
