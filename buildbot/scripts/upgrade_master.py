"""``buildbot upgrade-master``"""

from __future__ import annotations

import click

from buildbot.config import load_config
from buildbot.scripts import basedir as basedirs
from buildbot.scripts import failures
from buildbot.scripts.database import upgrade
from buildbot.scripts.options import basedir_argument, develop_option, quiet_option
from buildbot.scripts.sample import write_sample
from buildbot.secrets.ahead import db_url_now
from buildbot.util.basedirlock import BasedirLock


@click.command("upgrade-master")
@basedir_argument
@click.option(
    "-r", "--replace", is_flag=True, hidden=True, help="Accepted for old scripts: the sample is always renewed."
)
@develop_option
@quiet_option
def command(basedir: str, replace: bool, develop: bool, quiet: bool) -> None:
    """Bring the database of the master in BASEDIR to the schema of this version, showing each step.

    The master must be stopped, and so must all others that share its database. Make a copy of the database
    first.
    """
    found = basedirs.find(basedir)
    say = (lambda _: None) if quiet else click.echo
    with failures.as_messages(found.path), BasedirLock(found.path):
        config = load_config(found.path, found.settings.configfile)
        say("upgrading the database")
        upgrade(db_url_now(config, found.path), found.path, lambda line: say(f"  {line}"))
        write_sample(found.path)
    say("The database is up to date.")
