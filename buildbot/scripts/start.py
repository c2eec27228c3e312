"""``buildbot start``"""

from __future__ import annotations

import sys

import click

from buildbot.scripts import basedir as basedirs
from buildbot.scripts import daemon, failures
from buildbot.scripts.basedir import Basedir
from buildbot.scripts.options import basedir_argument, quiet_option, start_timeout_option
from buildbot.util.basedirlock import BasedirLock


@click.command("start")
@basedir_argument
@click.option("--nodaemon", is_flag=True, help="Stay in the foreground and log to the terminal; Ctrl-C stops it.")
@start_timeout_option
@quiet_option
def command(basedir: str, nodaemon: bool, start_timeout: float | None, quiet: bool) -> None:
    """Start the master in BASEDIR (by default the current directory).

    The command shows the master's log until the master is up, or fails with the reason. A second master in the same
    directory is refused. The log is twistd.log in BASEDIR.
    """
    start(basedirs.find(basedir), nodaemon, quiet, start_timeout)


def start(found: Basedir, nodaemon: bool, quiet: bool, timeout_s: float | None = None) -> None:
    """Start a master; does not return with ``nodaemon``.

    Args:
        found: the master's directory.
        nodaemon: run the master in this process.
        quiet: print errors only.
        timeout_s: seconds to wait until it is up; None: no limit.

    Raises:
        click.ClickException: it could not be started.
    """
    with failures.as_messages(found.path), BasedirLock(found.path) as lock:
        if nodaemon:
            sys.exit(_in_foreground(found, quiet))
        _in_background(found, lock, quiet, timeout_s)


def _in_background(found: Basedir, lock: BasedirLock, quiet: bool, timeout_s: float | None) -> None:
    outcome = daemon.start(found, lock, (lambda line: None) if quiet else click.echo, timeout_s)
    if not outcome.up:
        raise click.ClickException(f"{outcome.text}\nThe log is '{found.log}'.")
    if not quiet:
        where = f" at {outcome.text}" if outcome.text else ""
        click.echo(f"The master is up{where} (process {outcome.pid}).")


def _in_foreground(found: Basedir, quiet: bool) -> int:
    from buildbot.scripts import runner

    def report(up: bool, text: str) -> None:
        if not up:
            click.echo(f"Error: {text}", err=True)
        elif not quiet:
            click.echo(f"The master is up{f' at {text}' if text else ''}; Ctrl-C stops it.")

    return runner.run(found, report, echo=not quiet)
