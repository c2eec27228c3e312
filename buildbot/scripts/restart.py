"""``buildbot restart``"""

from __future__ import annotations

import click

from buildbot.scripts import basedir as basedirs
from buildbot.scripts.options import basedir_argument, clean_option, quiet_option, start_timeout_option
from buildbot.scripts.start import start
from buildbot.scripts.stop import stop


@click.command("restart")
@basedir_argument
@clean_option
@start_timeout_option
@click.option("--nodaemon", is_flag=True, help="Run the master in the foreground; Ctrl-C stops it.")
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    help="Seconds to wait for the old process to end.",
    metavar="S",
)
@quiet_option
def command(
    basedir: str, clean: bool, start_timeout: float | None, nodaemon: bool, timeout: float, quiet: bool
) -> None:
    """Stop the master in BASEDIR if it runs, then start it and wait until it is up."""
    found = basedirs.find(basedir)
    if stop(found, timeout, clean) and not quiet:
        click.echo("The master has stopped.")
    start(found, nodaemon, quiet, start_timeout)
