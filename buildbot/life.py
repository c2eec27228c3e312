"""The life of a master in its process: from its start, through SIGHUP, to its end.

The reactor is run by `buildbot start`, or by ``twistd`` with a ``buildbot.tac``, whose
``BuildMaster(…).setServiceParent(application)`` makes a `MasterService`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.config import ConfigErrors
from buildbot.util import garbage
from buildbot.util.basedirlock import BasedirBusyError, BasedirLock
from buildbot.util.clock import use_monotonic_time

#: lines of the log that `buildbot start`, `buildbot reconfig` and people's scripts wait for
UP = "BuildMaster is running"
NOT_UP = "BuildMaster startup failed"
RECONFIG_BEGIN = "beginning configuration update"
RECONFIG_DONE = "configuration update complete"
RECONFIG_REFUSED = "configuration update aborted without making any changes"
RECONFIG_FAILED = "configuration update failed"

#: told once: ``(True, url)`` when the master is up, ``(False, message)`` when it could not start
Report = Callable[[bool, str], None]
#: what people are told of an error, and whether that is all there is to say
Describe = Callable[[BaseException], tuple[str, bool]]

_log = Logger()


def plainly(reason: BaseException) -> tuple[str, bool]:
    """The message about an error that no better message is known for."""
    if isinstance(reason, ConfigErrors):
        return "the configuration has mistakes:\n" + "\n".join(f"  {line}" for line in reason.errors), True
    return f"{type(reason).__name__}: {reason}", isinstance(reason, OSError | BasedirBusyError)


class Life:
    """A master in a process.

    Args:
        master: a `BuildMaster`.
        reactor: Twisted's.
        report: told once how the start went.
        describe: finds words for errors.

    Attributes:
        exit_code: what the process should end with.
    """

    def __init__(self, master: Any, reactor: Any, report: Report, describe: Describe = plainly) -> None:
        self._master = master
        self._reactor = reactor
        self._report = report
        self._describe = describe
        #: held while the master starts or takes a new configuration
        self._changing = DeferredLock()
        self._is_ending = False
        self.exit_code = 0

    def start(self) -> Deferred[None]:
        """Start the master; if that fails the reactor stops."""
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reconfig))
        signal.signal(signal.SIGUSR1, lambda *_: self._reactor.callFromThread(self.stop_cleanly))
        return self._changing.run(self._start)

    def _start(self) -> Deferred[None]:
        return ensureDeferred(self._master.start()).addCallbacks(self._up, self.not_up)

    def _up(self, _: Any) -> None:
        for warning in self._master.config.warnings:
            _log.warn("{warning}", warning=warning)
        url = self._master.config.buildbotURL if self._master.config.www.port else ""
        _log.info("{up} (process {pid}){at}", up=UP, pid=os.getpid(), at=f" at {url}" if url else "")
        self._report(True, url)
        garbage.set_aside()

    def not_up(self, failure: Failure) -> None:
        """Say why the master could not start, and stop the reactor."""
        self._is_ending = True
        reason = failure.value or Exception("unknown")
        message, is_all = self._describe(reason)
        if not is_all:
            _log.failure("the master could not start", failure)
        _log.error("the master could not start: {message}", message=message)
        _log.error(NOT_UP)
        self.exit_code = 1
        self._report(False, message)
        self._reactor.stop()

    def stop(self) -> Deferred[None]:
        """Stop the master; a second signal then ends the process at once."""
        self._is_ending = True
        # A second Ctrl-C, or a second SIGTERM, ends the process at once.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        return ensureDeferred(self._stopped())

    async def _stopped(self) -> None:
        if self.exit_code == 0:
            _log.info("stopping")
        try:
            await self._master.stop()
        except Exception:
            # The process ends anyway; what could not be put away is in the database for the next start.
            _log.failure("while stopping")
            self.exit_code = self.exit_code or 1
        self.exit_code = self.exit_code or int(self._master.failed)
        _log.info("stopped")

    def stop_cleanly(self) -> None:
        """End the process when the running builds, and the builds that they wait for, have ended; start no others."""
        self._master.leave()

    def reconfig(self) -> None:
        """Have the configuration read again, when the master is up and no other reading is under way.

        A master that ends does not read it any more.
        """
        deferred = self._changing.run(lambda: ensureDeferred(self._reconfigured()))
        deferred.addErrback(lambda failure: _log.failure("in reconfiguration", failure))

    async def _reconfigured(self) -> None:
        if self._is_ending:
            return
        _log.info(RECONFIG_BEGIN)
        try:
            await self._master.reconfig()
        except ConfigErrors as mistakes:
            for message in mistakes.errors:
                _log.error("{message}", message=message)
            _log.error(RECONFIG_REFUSED)
        except Exception as reason:
            message, is_all = self._describe(reason)
            if not is_all:
                _log.failure("in reconfiguration")
            _log.error("{failed}: {message}", failed=RECONFIG_FAILED, message=message)
        else:
            for warning in self._master.config.warnings:
                _log.warn("{warning}", warning=warning)
            _log.info(RECONFIG_DONE)
            garbage.collect()  # the old configuration was set aside


class MasterService(Service):
    """A master as a part of an application of Twisted's.

    Args:
        master: a `BuildMaster`.
        basedir: its directory, which is locked while it runs.
        umask: of the process; None: as it was started.
    """

    def __init__(self, master: Any, basedir: Path, umask: int | None) -> None:
        self._master = master
        self._umask = umask
        self._lock = BasedirLock(basedir)
        self._life: Life | None = None

    def startService(self) -> None:
        """Start the master as soon as the reactor runs."""
        super().startService()  # type: ignore[no-untyped-call]
        from twisted.internet import reactor

        if self._umask is not None:
            os.umask(self._umask)
        use_monotonic_time(reactor)
        self._master.reactor = reactor
        reactor.callWhenRunning(self._start)

    def _start(self) -> None:
        from twisted.internet import reactor

        self._life = Life(self._master, reactor, lambda up, text: None)
        try:
            self._lock.acquire()
        except BasedirBusyError:
            busy = BasedirBusyError(f"a master already runs in '{self._lock.basedir}'")
            self._life.not_up(Failure(busy))
        else:
            self._life.start()

    def stopService(self) -> Deferred[None] | None:
        """Stop the master, and wait for that."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._life is None or not self._lock.is_held:
            return None

        def released(result: Any) -> Any:
            self._lock.release()
            return result

        return self._life.stop().addBoth(released)
