"""``buildbot reconfig``"""

from __future__ import annotations

import signal
import time

import click

from buildbot import life
from buildbot.scripts import basedir as basedirs
from buildbot.scripts.basedir import Basedir
from buildbot.scripts.logfile import Follower
from buildbot.scripts.options import basedir_argument, quiet_option
from buildbot.scripts.stop import send


@click.command("reconfig")
@basedir_argument
@click.option(
    "--timeout",
    "--progress_timeout",
    default=60.0,
    show_default=True,
    help="Seconds to wait for the answer.",
    metavar="S",
)
@quiet_option
def command(basedir: str, timeout: float, quiet: bool) -> None:
    """Make the running master in BASEDIR read its configuration again, without stopping builds.

    If the new configuration has mistakes, the master keeps the old one, and the command reports them and fails. The
    signal SIGHUP has the same effect; the answer is in twistd.log then.
    """
    found = basedirs.find(basedir)
    if not found.running():
        raise click.ClickException(f"no master runs in '{found.path}'; start it with: buildbot start '{found.path}'")
    follower = Follower(found.log)
    send(found, found.pid(), signal.SIGHUP)
    if not _done(found, follower, timeout, quiet):
        raise click.ClickException("the master refused the new configuration and keeps the old one")
    if not quiet:
        click.echo("The master has the new configuration.")


def _done(found: Basedir, follower: Follower, timeout_s: float, quiet: bool) -> bool:
    """Print the log of the reconfiguration; whether it succeeded. ClickException if there is no answer."""
    until = time.monotonic() + timeout_s
    begun = False
    while True:
        # asked before the log is read, so that the last lines of a process that ends are read
        running = found.running()
        for line in follower.lines():
            begun = begun or life.RECONFIG_BEGIN in line
            if not begun:
                continue
            refused = life.RECONFIG_REFUSED in line or life.RECONFIG_FAILED in line
            if not quiet or refused:
                click.echo(line)
            if refused:
                return False
            if life.RECONFIG_DONE in line:
                return True
        if not running:
            raise click.ClickException(f"the master has ended; look at '{found.log}'")
        if time.monotonic() > until:
            raise click.ClickException(
                f"the master has not answered within {timeout_s:g} seconds; look at '{found.log}'"
            )
        time.sleep(0.05)
