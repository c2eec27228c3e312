"""``buildbot cleanupdb``"""

from __future__ import annotations

from pathlib import Path

import click

from buildbot.config import load_config
from buildbot.scripts import basedir as basedirs
from buildbot.scripts import failures
from buildbot.scripts.options import basedir_argument, quiet_option
from buildbot.secrets.ahead import db_url_now
from buildbot.util.basedirlock import BasedirLock


@click.command("cleanupdb")
@basedir_argument
@click.option("-f", "--force", is_flag=True, hidden=True, help="Accepted for old scripts: always so.")
@quiet_option
def command(basedir: str, force: bool, quiet: bool) -> None:
    """Return the space of removed rows of the database of the master in BASEDIR to the file system.

    The master must be stopped, and so must all others that share its database. As much disk space as the database takes
    must be free. c["retention"] says which rows are removed, and when.
    """
    found = basedirs.find(basedir)
    say = (lambda _: None) if quiet else click.echo
    with failures.as_messages(found.path), BasedirLock(found.path):
        config = load_config(found.path, found.settings.configfile)
        say("writing the database anew; this may take a while")
        compact(db_url_now(config, found.path), found.path)
    say("The space of removed rows is free.")


def compact(db_url: str, basedir: Path) -> None:
    """Write the tables of a database anew, without the space of removed rows.

    Raises:
        click.ClickException: its schema is not that of this version.
        DBAPIError: it cannot be used.
    """
    from buildbot.db.dialects import dialect_for
    from buildbot.resources import metadata

    dialect = dialect_for(db_url, str(basedir))
    engine = dialect.create_engine()
    try:
        with engine.connect() as conn:
            there = set(engine.dialect.get_table_names(conn))
            conn.rollback()
            missing = sorted({table.name for table in metadata.sorted_tables} - there)
            if missing:
                raise click.ClickException(
                    f"the database has no table {missing[0]}; run: buildbot upgrade-master '{basedir}'"
                )
            dialect.compact(conn, metadata.sorted_tables)
    finally:
        engine.dispose()
