"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

#: the master's directory, by default the current one
basedir_argument: Decorator = click.argument("basedir", default=".", type=click.Path(file_okay=False))

quiet_option: Decorator = click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
