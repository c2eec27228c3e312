"""``buildbot create-master``"""

from __future__ import annotations

import os
from pathlib import Path

import click

from buildbot.config import database_url
from buildbot.db.dialects import InvalidURLError, dialect_for
from buildbot.scripts import failures, sample, settings
from buildbot.scripts.database import upgrade
from buildbot.scripts.options import basedir_argument, develop_option, quiet_option
from buildbot.scripts.settings import Settings
from buildbot.util.basedirlock import BasedirLock


def _count(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value == "None":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"must be a number above 0, or None, not {value!r}")
    return int(value)


@click.command("create-master")
@basedir_argument
@click.option("--db", "db_url", default=sample.DEFAULT_DB_URL, show_default=True, metavar="URL", help="The database.")
@click.option(
    "-c",
    "--config",
    default="master.cfg",
    show_default=True,
    metavar="FILE",
    help="Name of the configuration file.",
)
@click.option(
    "--repository", default=sample.DEFAULT_REPOSITORY, show_default=True, metavar="URL",
    help="The git repository that the sample configuration builds.",
)  # fmt: skip
@click.option(
    "--worker-password",
    default="pass",
    metavar="TEXT",
    help="The password of the sample configuration's worker.",
)
@click.option(
    "-s", "--log-size", default=Settings.rotateLength, show_default=True, type=click.IntRange(0),
    metavar="BYTES", help="Size at which twistd.log is rotated, 0 for never.",
)  # fmt: skip
@click.option(
    "-l", "--log-count", default=str(Settings.maxRotatedFiles), show_default=True, callback=_count,
    metavar="N", help="The number of rotated logs to keep; None for all.",
)  # fmt: skip
@click.option("-n", "--no-logrotate", is_flag=True, help="Never rotate twistd.log; the same as --log-size 0.")
@click.option("-f", "--force", is_flag=True, help="Write buildbot.tac anew if it exists.")
@click.option("-r", "--relocatable", is_flag=True, hidden=True, help="Accepted for old scripts: always so.")
@develop_option
@quiet_option
def command(
    basedir: str,
    db_url: str,
    config: str,
    repository: str,
    worker_password: str,
    log_size: int,
    log_count: int | None,
    no_logrotate: bool,
    force: bool,
    relocatable: bool,
    develop: bool,
    quiet: bool,
) -> None:
    """Make a master in BASEDIR: a directory, its database, and a commented configuration to edit.

    If BASEDIR has a master already, existing files are kept and missing ones are made.
    """
    path = Path(os.path.abspath(basedir))
    say = (lambda _: None) if quiet else click.echo
    try:
        url = database_url.resolve(db_url, path)
        dialect_for(url, str(path))
    except (ValueError, InvalidURLError) as reason:
        raise click.BadParameter(str(reason).removeprefix("db_url: "), param_hint="--db") from None
    with failures.as_messages(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with BasedirLock(path):
            tac = path / settings.FILE
            if force or not tac.exists():
                rotate = 0 if no_logrotate else log_size
                tac.write_text(Settings(config, rotate, log_count).render(), encoding="utf-8")
            sample.write_sample(path)
            configfile = path / config
            if configfile.exists():
                say(f"keeping {configfile}")
            else:
                # it has the worker's password
                configfile.touch(mode=0o600)
                configfile.write_text(sample.render(db_url, repository, worker_password), encoding="utf-8")
                say(f"writing {configfile}")
            say("making the database")
            upgrade(url, path, lambda line: say(f"  {line}"))
    say(f"The master is in '{path}'. Edit {config}, then: buildbot start '{path}'")
