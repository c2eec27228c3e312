"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

#: the master's directory, by default the current one
basedir_argument: Decorator = click.argument("basedir", default=".", type=click.Path(file_okay=False))

quiet_option: Decorator = click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")

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
