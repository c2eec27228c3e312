"""The life of a master's process: from an empty reactor to a running master, through SIGHUP, to its end.

`run` owns the process: it starts the log, writes the pid file, runs the reactor and gives the exit code. It
is the same with and without a terminal; whoever started it learns from ``report`` that the master is up or
why it is not.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.config import ConfigErrors
from buildbot.scripts import failures, logfile
from buildbot.scripts.basedir import Basedir
from buildbot.util.clock import use_monotonic_time

#: lines of the log that `buildbot start` and `buildbot reconfig` wait for
UP = "BuildMaster is running"
RECONFIG_BEGIN = "beginning configuration update"
RECONFIG_DONE = "configuration update complete"
RECONFIG_REFUSED = "configuration update aborted without making any changes"
RECONFIG_FAILED = "configuration update failed"

#: told once: ``(True, url)`` when the master is up, ``(False, message)`` when it could not start
Report = Callable[[bool, str], None]

_log = Logger()


def run(basedir: Basedir, report: Report, echo: bool = False) -> int:
    """Run the master of ``basedir`` until it is stopped. The caller holds the directory's lock.

    Args:
        basedir: the master's directory.
        report: told once how the start went.
        echo: log to standard output too.

    Returns:
        The exit code: 0 after a clean stop, 1 if the master could not start or had to end.

    Raises:
        OSError: the log or the pid file cannot be written.
    """
    if basedir.settings.umask is not None:
        os.umask(basedir.settings.umask)
    logfile.begin(basedir.log, basedir.settings, sys.stdout if echo else None)
    basedir.pidfile.write_text(f"{os.getpid()}\n")
    try:
        # Importing the reactor installs it, which only a process that runs one may do.
        from twisted.internet import reactor

        use_monotonic_time(reactor)
        return _Process(basedir, report, reactor).run()
    finally:
        basedir.pidfile.unlink(missing_ok=True)


class _Process:
    def __init__(self, basedir: Basedir, report: Report, reactor: Any) -> None:
        from buildbot.master import BuildMaster

        self.basedir = basedir
        self.report = report
        self.reactor = reactor
        self.exit_code = 0
        self.reconfiguring = DeferredLock()
        self.master = BuildMaster(basedir.path, basedir.settings.configfile, reactor)
        self.started: Deferred[None] | None = None

    def run(self) -> int:
        self.reactor.callWhenRunning(self._start)
        self.reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        self.reactor.run()
        return self.exit_code

    def _start(self) -> None:
        signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(self._reconfig))
        self.started = ensureDeferred(self.master.start())
        self.started.addCallbacks(self._up, self._not_up)

    def _up(self, _: Any) -> None:
        for warning in self.master.config.warnings:
            _log.warn("{warning}", warning=warning)
        url = self.master.config.buildbotURL if self.master.config.www.port else ""
        _log.info("{up} (process {pid}){at}", up=UP, pid=os.getpid(), at=f" at {url}" if url else "")
        self.report(True, url)

    def _not_up(self, failure: Failure) -> None:
        reason = failure.value or Exception("unknown")
        if not failures.is_expected(reason):
            _log.failure("the master could not start", failure)
        message = failures.describe(reason, self.basedir.path)
        _log.error("the master could not start: {message}", message=message)
        self.exit_code = 1
        self.report(False, message)
        self.reactor.stop()

    async def _stopped(self) -> None:
        if self.exit_code == 0:
            _log.info("stopping")
        try:
            await self.master.stop()
        except Exception:
            # The process ends anyway; what could not be put away is in the database for the next start.
            _log.failure("while stopping")
            self.exit_code = self.exit_code or 1
        self.exit_code = self.exit_code or int(self.master.failed)
        _log.info("stopped")

    def _stop(self) -> Deferred[None]:
        # A second Ctrl-C, or a second SIGTERM, is from somebody who will not wait.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        return ensureDeferred(self._stopped())

    def _reconfig(self) -> None:
        deferred = self.reconfiguring.run(lambda: ensureDeferred(self._reconfigured()))
        deferred.addErrback(lambda failure: _log.failure("in reconfiguration", failure))

    async def _reconfigured(self) -> None:
        _log.info(RECONFIG_BEGIN)
        try:
            await self.master.reconfig()
        except ConfigErrors as mistakes:
            for message in mistakes.errors:
                _log.error("{message}", message=message)
            _log.error(RECONFIG_REFUSED)
        except Exception as reason:
            if not failures.is_expected(reason):
                _log.failure("in reconfiguration")
            message = failures.describe(reason, self.basedir.path)
            _log.error("{failed}: {message}", failed=RECONFIG_FAILED, message=message)
        else:
            for warning in self.master.config.warnings:
                _log.warn("{warning}", warning=warning)
            _log.info(RECONFIG_DONE)
