"""``.buildbot/options``: defaults of the commands that users run in their source trees.

The file is looked for in the current directory, in its parents, and in the home directory. The first one found is run
as a Python program, whose global names are the defaults.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

_PLACE = Path(".buildbot") / "options"


def find(start: Path, home: Path) -> Path | None:
    """The file for a directory ``start``; None if there is none."""
    for directory in (start, *start.parents, home):
        if (directory / _PLACE).is_file():
            return directory / _PLACE
    return None


def read(start: Path | None = None, home: Path | None = None) -> dict[str, Any]:
    """The names that the file sets; empty without a file.

    Args:
        start: the directory; None: the current one.
        home: the home directory; None: the user's.

    Raises:
        click.ClickException: it belongs to another user, so it is not run; or it fails.
    """
    path = find((start or Path.cwd()).absolute(), home or Path.home())
    if path is None:
        return {}
    owner = path.stat().st_uid
    if owner not in (os.getuid(), 0):
        raise click.ClickException(f"'{path}' belongs to another user and is not run; remove it, or make it yours")
    names: dict[str, Any] = {"__file__": str(path)}
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), names)
    except Exception as problem:
        raise click.ClickException(f"'{path}': {type(problem).__name__}: {problem}") from None
    return {name: value for name, value in names.items() if not name.startswith("__")}
