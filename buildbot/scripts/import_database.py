"""``buildbot import``"""

from __future__ import annotations

from pathlib import Path

import click

from buildbot.config import load_config
from buildbot.importing.report import Progress, Report
from buildbot.importing.run import Import
from buildbot.importing.source import Source
from buildbot.importing.target import Target
from buildbot.scripts import basedir as basedirs
from buildbot.scripts.basedir import Basedir
from buildbot.scripts.filling import INCOMPLETE, fill
from buildbot.scripts.options import quiet_option
from buildbot.secrets.ahead import db_url_now

#: the file with all rows that were left out, and the reasons
LEFT_OUT = "import-left-out.txt"


@click.command("import")
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--from", "source_url", required=True, metavar="URL", help="The database of the Buildbot installation.")
@quiet_option
def command(directory: str, source_url: str, quiet: bool) -> None:
    """Import the database of a Buildbot 4 installation into that of the master in DIRECTORY.

    All rows keep their ids, so links stay valid. The old master may run meanwhile; the new one must not, and must never
    have run on its database. Run the command again to import newer rows, or after an interruption. A build that was
    running when it was read ends with RETRY, unless a later run finds its end.

    URL is the old master's db_url, for example postgresql://user:password@host/buildbot or
    sqlite:////path/to/the/old/master/state.sqlite. The old database is only read.

    Exit codes: 0 all rows were imported; 1 it failed, the message says why; 2 the command line is wrong; 3 some rows
    were left out, they are listed in import-left-out.txt in DIRECTORY.
    """
    found = basedirs.find(directory)
    report = fill(found, lambda progress: _imported(found, source_url, progress), quiet)
    if report.left_out:
        count = len(report.left_out)
        click.echo(f"{count:,} rows were left out or changed; listed in '{found.path / LEFT_OUT}'.", err=quiet)
        raise click.exceptions.Exit(INCOMPLETE)


def _imported(found: Basedir, source_url: str, progress: Progress) -> Report:
    config = load_config(found.path, found.settings.configfile)
    source, target = Source(source_url), Target(db_url_now(config, found.path), str(found.path))
    listing: Path = found.path / LEFT_OUT
    with source.opened(), target.opened():
        report = Import(source, target, progress).run()
    if report.left_out:
        listing.write_text("".join(f"{each}\n" for each in report.left_out), encoding="utf-8")
    else:
        listing.unlink(missing_ok=True)
    return report
