"""A master's directory: its files, and whether a master runs there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click

from buildbot.scripts import settings
from buildbot.scripts.settings import Settings
from buildbot.util.basedirlock import is_locked


@dataclass(frozen=True)
class Basedir:
    """A master's directory.

    Attributes:
        path: its absolute path.
        settings: those of the master's process.
    """

    path: Path
    settings: Settings

    @property
    def log(self) -> Path:
        """The log of the process."""
        return self.path / "twistd.log"

    @property
    def pidfile(self) -> Path:
        """The file with the id of the running process."""
        return self.path / "twistd.pid"

    def running(self) -> bool:
        """Whether a master runs in the directory."""
        try:
            return is_locked(self.path)
        except OSError as reason:
            raise click.ClickException(f"cannot read '{self.path}': {reason.strerror}") from None

    def pid(self) -> int:
        """The id of the process that runs in the directory.

        Raises:
            click.ClickException: the pid file does not have it.
        """
        try:
            return int(self.pidfile.read_text())
        except (OSError, ValueError):
            raise click.ClickException(
                f"a master runs in '{self.path}', but '{self.pidfile.name}' has no process id; "
                f"find it with: fuser '{self.path}'"
            ) from None


def find(directory: str) -> Basedir:
    """The master's directory at a path.

    Raises:
        click.ClickException: there is no master; the message says how to make one.
    """
    path = Path(os.path.abspath(directory))
    if not path.is_dir():
        raise click.ClickException(
            f"there is no directory '{path}'; make a master there with: buildbot create-master '{path}'"
        )
    try:
        read = settings.read(path)
    except settings.BadSettingsError as reason:
        raise click.ClickException(str(reason)) from None
    if not (path / settings.FILE).exists() and not (path / read.configfile).exists():
        raise click.ClickException(
            f"'{path}' is not a master's directory (it has no {read.configfile}); "
            f"make a master there with: buildbot create-master '{path}'"
        )
    return Basedir(path, read)
