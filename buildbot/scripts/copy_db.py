"""``buildbot copy-db``"""

from __future__ import annotations

import click

from buildbot.config import load_config
from buildbot.importing.copying import Copy, Original
from buildbot.importing.report import ImportRefusedError, Progress, Report
from buildbot.importing.target import Target
from buildbot.scripts import basedir as basedirs
from buildbot.scripts.basedir import Basedir
from buildbot.scripts.filling import INCOMPLETE, fill
from buildbot.scripts.options import basedir_argument, quiet_option
from buildbot.secrets.ahead import db_url_now


@click.command("copy-db")
@click.argument("destination_url", metavar="DESTINATION_URL")
@basedir_argument
@click.option(
    "--ignore-fk-error-rows", "ignore_errors", is_flag=True, hidden=True,
    help="Accepted for old scripts: the database refuses such rows when they are written.",
)  # fmt: skip
@quiet_option
def command(destination_url: str, basedir: str, ignore_errors: bool, quiet: bool) -> None:
    """Copy the database of the master in BASEDIR to another one, of the same kind or not.

    DESTINATION_URL is an empty database, for example postgresql://user:password@host/buildbot. All rows are copied,
    also the log of events and its clock, so that clients can continue with the copy; then all rows are compared. All
    masters of the database must be stopped. Run the command again after an interruption, or to bring the copy up to
    date; a copy on which a master has run is not changed. To use the copy, write its URL as db_url into master.cfg.

    Exit codes: 0 the copy is equal; 1 it failed, the message says why; 2 the command line is wrong; 3 the copy is not
    equal, the rows that differ are listed.
    """
    found = basedirs.find(basedir)
    report = fill(found, lambda progress: _copied(found, destination_url, progress), quiet)
    if report.left_out:
        click.echo(f"The copy is not equal: {len(report.left_out):,} rows differ.", err=True)
        raise click.exceptions.Exit(INCOMPLETE)


def _copied(found: Basedir, destination_url: str, progress: Progress) -> Report:
    basedir = str(found.path)
    config = load_config(found.path, found.settings.configfile)
    source = Original(db_url_now(config, found.path), basedir)
    target = Target(destination_url, basedir)
    if source.dialect.url == target.dialect.url:
        raise ImportRefusedError("DESTINATION_URL is the database to copy")
    with source.opened(), target.opened(remembers=False):
        return Copy(source, target, progress).run()
