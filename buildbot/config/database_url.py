"""The database URL of a configuration: checked for form, and made independent of the current directory."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DEFAULT = "sqlite:///state.sqlite"


def resolve(value: object, basedir: Path) -> str:
    """``value`` as a URL that means the same from every directory.

    Args:
        value: a database URL; a relative SQLite file is one in ``basedir``; ``%(basedir)s`` stands for it.
        basedir: the directory of the master.

    Raises:
        ValueError: not a database URL; the message completes "db_url …".
    """
    if not isinstance(value, str):
        raise ValueError(f"must be a database URL such as {DEFAULT!r}, not {value!r}")
    text = value.replace("%(basedir)s", str(basedir))
    try:
        url: URL = make_url(text)
    except (ArgumentError, ValueError) as reason:
        # The reason may hold the whole URL with its password; the form is all that is wrong here.
        raise ValueError(
            "is not a database URL; write it like 'sqlite:///state.sqlite' or 'dialect://user:password@host/database'"
        ) from reason
    # Only a file can be relative to a directory, and only SQLite's URLs name files.
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        assert url.database is not None
        if not url.database.startswith("file:"):
            return url.set(database=str(basedir / url.database)).render_as_string(hide_password=False)
    return text
