"""Making and upgrading the database of a master from the command line, with progress."""

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
    """Passes on what Alembic says of each step of a migration."""

    def __init__(self, line: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("Running "):
            self._line(text)


def upgrade(db_url: str, basedir: Path, line: Callable[[str], None]) -> None:
    """Bring a database to the schema of this version; an empty one is made complete.

    Args:
        db_url: its URL.
        basedir: the master's directory.
        line: gets one line for each step.

    Raises:
        click.ClickException: it could not be done; the database is at the last step that succeeded.
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
    """What ``work(master)`` gives, on the state layer of a master whose database is up to date.

    Raises:
        click.ClickException: the database cannot be used, with the reason.
    """
    results: list[T] = []
    try:
        run(lambda: _worked(db_url, basedir, work, results))
    except click.ClickException:
        raise
    except Exception as reason:
        raise click.ClickException(failures.describe(reason, basedir)) from (
            None if failures.is_expected(reason) else reason
        )
    return results[0]


async def _worked(db_url: str, basedir: Path, work: Callable[[Any], Coroutine[Any, Any, T]], results: list[T]) -> None:
    from buildbot.state import default_name, openMaster

    master = await openMaster(db_url, default_name(basedir), basedir=basedir)
    try:
        results.append(await work(master))
    finally:
        await master.close()


async def _upgraded(db_url: str, basedir: Path) -> None:
    from buildbot.state import default_name, openMaster

    # Opening registers a master; it is to be the one that will run here.
    master = await openMaster(db_url, default_name(basedir), upgrade=True, basedir=basedir)
    await master.close()
