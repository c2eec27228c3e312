"""The database URL of a configuration: its form is checked here, its meaning in the database layer."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

DEFAULT = "sqlite:///state.sqlite"


def resolve(value: object, basedir: Path) -> str:
    """``value`` as a URL, with ``%(basedir)s`` replaced.

    Args:
        value: a database URL. A relative file is in the master's directory, which is given when the database is opened.
        basedir: the directory of the master.

    Raises:
        ValueError: not a database URL; the message completes "db_url …".
    """
    return checked(value.replace("%(basedir)s", str(basedir)) if isinstance(value, str) else value)


def checked(value: object) -> str:
    """``value`` if it is a URL; ValueError as `resolve`."""
    if not isinstance(value, str):
        raise ValueError(f"must be a database URL such as {DEFAULT!r}, not {value!r}")
    try:
        make_url(value)
    except (ArgumentError, ValueError) as reason:
        # SQLAlchemy's text may hold the whole URL with its password; the form is wrong in any case.
        raise ValueError(
            "is not a database URL; write it like 'sqlite:///state.sqlite' or 'dialect://user:password@host/database'"
        ) from reason
    return value
