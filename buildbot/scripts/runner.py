"""The process of a master that `buildbot start` has made: from an empty reactor to its end.

`run` owns the process: it starts the log, writes the pid file, runs the reactor and gives the exit code. It
is the same with and without a terminal; its caller learns from ``report`` that the master is up or
why it is not.
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
