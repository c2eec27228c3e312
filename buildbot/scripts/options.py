"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

#: the master's directory, by default the current one
basedir_argument: Decorator = click.argument("basedir", default=".", type=click.Path(file_okay=False))

quiet_option: Decorator = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")

clean_option: Decorator = click.option(
    "-c", "--clean", is_flag=True, help="Let running builds end first; there is no limit of time."
)

develop_option: Decorator = click.option(
    "-d", "--develop", is_flag=True, hidden=True, help="Accepted for old scripts: nothing of the page is copied."
)

start_timeout_option: Decorator = click.option(
    "--start_timeout",
    "--start-timeout",
    envvar="START_TIMEOUT",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds to wait until the master is up; default: until it is up or has failed.",
)


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of ``HOST:PORT``, the value of an option ``--master``; click.UsageError if it is something else."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise click.UsageError(f"--master must be HOST:PORT, not {address!r}")
    return host, int(port)
