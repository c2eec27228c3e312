"""The process of a master that `buildbot start` has made.

`run` starts the log, writes the pid file, runs the reactor and returns the exit code, with and without a terminal. It
calls ``report`` when the master is up or has failed.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from buildbot.life import Life, Report
from buildbot.scripts import failures, logfile
from buildbot.scripts.basedir import Basedir
from buildbot.util.clock import use_monotonic_time


def run(basedir: Basedir, report: Report, echo: bool = False) -> int:
    """Run the master of ``basedir`` until it is stopped. The caller holds the directory's lock.

    Args:
        basedir: the master's directory.
        report: called once, ``report(up, text)``: whether the master is up, and the URL of its page or the reason.
        echo: log to standard output, too.

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
        # the import installs the reactor, which only a process that runs it may do
        from twisted.internet import reactor

        use_monotonic_time(reactor)
        return _Process(basedir, report, reactor).run()
    finally:
        basedir.pidfile.unlink(missing_ok=True)


class _Process:
    def __init__(self, basedir: Basedir, report: Report, reactor: Any) -> None:
        from buildbot.master import BuildMaster

        settings = basedir.settings
        self.reactor = reactor
        self.master = BuildMaster(basedir.path, settings.configfile, reactor=reactor)
        self.master.log_rotation.rotateLength = settings.rotateLength
        self.master.log_rotation.maxRotatedFiles = settings.maxRotatedFiles
        self.life = Life(
            self.master,
            reactor,
            report,
            lambda reason: (failures.describe(reason, basedir.path), failures.is_expected(reason)),
        )

    def run(self) -> int:
        self.reactor.callWhenRunning(self.life.start)
        self.reactor.addSystemEventTrigger("before", "shutdown", self.life.stop)
        self.reactor.run()
        return self.life.exit_code
