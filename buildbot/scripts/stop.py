"""``buildbot stop``"""

from __future__ import annotations

import os
import signal
import time

import click

from buildbot.scripts import basedir as basedirs
from buildbot.scripts.basedir import Basedir
from buildbot.scripts.options import basedir_argument, clean_option, quiet_option


@click.command("stop")
@basedir_argument
@clean_option
@click.option("--no-wait", is_flag=True, help="Ask the master to stop and return at once.")
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    help="Seconds to wait for its end before giving up.",
    metavar="S",
)
@quiet_option
def command(basedir: str, clean: bool, no_wait: bool, timeout: float, quiet: bool) -> None:
    """Stop the master in BASEDIR and wait until its process has ended.

    Running builds end with RETRY: their requests are built again when a master runs. With --clean running builds end
    first, and no more are started. It is no error if no master runs.
    """
    found = basedirs.find(basedir)
    if not stop(found, None if no_wait else timeout, clean) and not quiet:
        click.echo(f"No master runs in '{found.path}'.")
    elif not quiet:
        click.echo("Asked the master to stop." if no_wait else "The master has stopped.")


def stop(found: Basedir, wait_s: float | None, clean: bool = False) -> bool:
    """Stop a master.

    Args:
        found: the master's directory.
        wait_s: seconds to wait for its end; None: do not wait.
        clean: let its builds end first, without a limit of time.

    Returns:
        Whether a master was running.

    Raises:
        click.ClickException: it did not end in time, or this user may not send it signals.
    """
    if not found.running():
        # a process that was killed leaves it
        found.pidfile.unlink(missing_ok=True)
        return False
    pid = found.pid()
    send(found, pid, signal.SIGUSR1 if clean else signal.SIGTERM)
    if wait_s is not None:
        until = time.monotonic() + wait_s
        while found.running():
            if time.monotonic() > until and not clean:
                raise click.ClickException(
                    f"the master (process {pid}) has not ended within {wait_s:g} seconds; "
                    f"look at '{found.log}', and end it by force with: kill -KILL {pid}"
                )
            time.sleep(0.05)
    return True


def send(found: Basedir, pid: int, number: signal.Signals) -> None:
    """Send a signal to the master's process.

    Raises:
        click.ClickException: this user may not, or there is no such process.
    """
    try:
        os.kill(pid, number)
    except PermissionError:
        raise click.ClickException(
            f"the master in '{found.path}' (process {pid}) belongs to another user; do this as that user"
        ) from None
    except ProcessLookupError:
        raise click.ClickException(
            f"'{found.pidfile}' names process {pid}, which is gone, and yet the directory is in use; "
            f"find the process with: fuser '{found.path}'"
        ) from None
