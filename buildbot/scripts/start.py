"""``buildbot start``"""

from __future__ import annotations

import sys

import click

from buildbot.scripts import basedir as basedirs
from buildbot.scripts import daemon, failures
from buildbot.scripts.basedir import Basedir
from buildbot.scripts.options import basedir_argument, quiet_option
from buildbot.util.basedirlock import BasedirBusyError, BasedirLock


@click.command("start")
@basedir_argument
@click.option("--nodaemon", is_flag=True, help="Stay in the foreground and log to the terminal; Ctrl-C stops it.")
@quiet_option
def command(basedir: str, nodaemon: bool, quiet: bool) -> None:
    """Start the master in BASEDIR (by default the current directory).

    Returns when the master is up, showing what it logs meanwhile, or fails with the reason why it is not. A
    second master in the same directory is refused. The log is twistd.log in BASEDIR.
    """
    start(basedirs.find(basedir), nodaemon, quiet)


def start(found: Basedir, nodaemon: bool, quiet: bool) -> None:
    """Start a master; does not return with ``nodaemon``.

    Raises:
        click.ClickException: it could not be started.
    """
    try:
        with BasedirLock(found.path) as lock:
            if nodaemon:
                sys.exit(_in_foreground(found, quiet))
            _in_background(found, lock, quiet)
    except (BasedirBusyError, OSError) as reason:
        raise click.ClickException(failures.describe(reason, found.path)) from None


def _in_background(found: Basedir, lock: BasedirLock, quiet: bool) -> None:
    outcome = daemon.start(found, lock, (lambda line: None) if quiet else click.echo)
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
