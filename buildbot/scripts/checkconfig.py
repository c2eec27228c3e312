"""``buildbot checkconfig``"""

from __future__ import annotations

from pathlib import Path

import click

from buildbot.config import ConfigErrors, load_config
from buildbot.scripts import settings
from buildbot.scripts.options import quiet_option


@click.command("checkconfig")
@click.argument("config", default=".", type=click.Path())
@quiet_option
def command(config: str, quiet: bool) -> None:
    """Report all mistakes in a configuration.

    CONFIG is a master's directory or a configuration file, by default the current directory. The file is
    run, but nothing is started, no port is opened and the database is not touched.
    """
    directory, name = _locate(Path(config))
    try:
        read = load_config(directory, name)
    except ConfigErrors as mistakes:
        for message in mistakes.errors:
            click.echo(message, err=True)
        count = len(mistakes.errors)
        raise click.ClickException(f"{count} mistake{'s' if count > 1 else ''} in the configuration") from None
    if not quiet:
        for warning in read.warnings:
            click.echo(f"warning: {warning}")
        click.echo("Config file is good!")


def _locate(given: Path) -> tuple[Path, str]:
    """The directory and the configuration file in it."""
    if given.is_dir():
        try:
            return given, settings.read(given).configfile
        except settings.BadSettingsError as reason:
            raise click.ClickException(str(reason)) from None
    return given.parent, given.name
