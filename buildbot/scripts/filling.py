"""The run of a command that fills a database: alone in the master's directory, with progress and a report."""

from __future__ import annotations

from collections.abc import Callable

import click

from buildbot.db.dialects import InvalidURLError
from buildbot.importing.report import ImportRefusedError, Progress, Report
from buildbot.scripts import failures
from buildbot.scripts.basedir import Basedir
from buildbot.util.basedirlock import BasedirLock

#: the exit code if rows were left out, or differ
INCOMPLETE = 3


def fill(found: Basedir, work: Callable[[Progress], Report], quiet: bool) -> Report:
    """Do ``work`` while no master runs in a directory; print its progress and report, which is returned.

    Args:
        found: the master's directory.
        work: fills the database, and tells its progress.
        quiet: print errors only.

    Raises:
        click.ClickException: it failed; the message has the reason.
    """
    say = (lambda _: None) if quiet else click.echo
    try:
        with failures.as_messages(found.path), BasedirLock(found.path):
            report = work(Progress(say))
    except (ImportRefusedError, InvalidURLError) as reason:
        raise click.ClickException(str(reason)) from None
    for line in report.lines():
        say(line)
    return report
