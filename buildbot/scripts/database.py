"""The database of a master, for commands: upgrades with progress, and work on the state layer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from buildbot.scripts import failures
from buildbot.scripts.reactor import run

T = TypeVar("T")


class _Steps(logging.Handler):
    """Calls a function with Alembic's message on each step of a migration."""

    def __init__(self, line: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("Running "):
            self._line(text)


def upgrade(db_url: str, basedir: Path, line: Callable[[str], None]) -> None:
    """Bring a database to the schema of this version; in an empty one the schema is made.

    Args:
        db_url: its URL.
        basedir: the master's directory.
        line: called with a line for each step.

    Raises:
        click.ClickException: a step failed; the database is at the last step that succeeded.
    """
    steps = _Steps(line)
    logger = logging.getLogger("alembic.runtime.migration")
    level = logger.level
    logger.addHandler(steps)
    logger.setLevel(logging.INFO)
    try:
        run(lambda: _upgraded(db_url, basedir))
    except Exception as reason:
        raise click.ClickException(failures.describe(reason, basedir)) from (
            None if failures.is_expected(reason) else reason
        )
    finally:
        logger.removeHandler(steps)
        logger.setLevel(level)


def run_on_database(db_url: str, basedir: Path, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """The result of ``work(master)``, on the state layer of a master whose database is up to date.

    Raises:
        click.ClickException: the database cannot be used, with the reason.
    """
    try:
        return run(lambda: _worked(db_url, basedir, work))
    except click.ClickException:
        raise
    except Exception as reason:
        raise click.ClickException(failures.describe(reason, basedir)) from (
            None if failures.is_expected(reason) else reason
        )


async def _worked(db_url: str, basedir: Path, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    from buildbot.state import default_name, openMaster

    master = await openMaster(db_url, default_name(basedir), basedir=basedir)
    try:
        return await work(master)
    finally:
        await master.close()


async def _upgraded(db_url: str, basedir: Path) -> None:
    from buildbot.state import default_name, openMaster

    # opening a database registers a master: it must have the name of the one that will run here
    master = await openMaster(db_url, default_name(basedir), upgrade=True, basedir=basedir)
    await master.close()
