"""The differences between databases: ``base`` declares them, and a module for each database implements them."""

from __future__ import annotations

from importlib import import_module

from buildbot.db.dialects import expressions as expressions  # registers the SQL of types for each database
from buildbot.db.dialects.base import Dialect, InvalidURLError

#: module and class; only the needed one is imported, since drivers take megabytes
_BY_NAME = {
    "sqlite": ("sqlite", "SQLiteDialect"),
    "postgresql": ("postgresql", "PostgreSQLDialect"),
    "mysql": ("mysql", "MySQLDialect"),
    "mariadb": ("mysql", "MySQLDialect"),
}


def dialect_for(db_url: str, basedir: str | None = None) -> Dialect:
    """The dialect of the database that a connection string names.

    ``basedir``: the directory to which a SQLite path is relative. Raises InvalidURLError for a wrong connection string.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(db_url)
    except (ArgumentError, ValueError):  # ValueError: the port
        shown = "" if "@" in db_url or "password" in db_url else f" {db_url!r}"  # no password in logs
        raise InvalidURLError(
            f"db_url{shown} is no connection string; write for example sqlite:///state.sqlite or"
            " postgresql://user:password@host/database"
        ) from None
    name = url.get_backend_name()
    if name not in _BY_NAME:
        raise InvalidURLError(f"db_url: {name!r} is none of the supported databases: sqlite, postgresql, mysql")
    module, answers = _BY_NAME[name]
    dialect: Dialect = getattr(import_module(f"{__name__}.{module}"), answers)(url, basedir)
    return dialect


__all__ = ["Dialect", "InvalidURLError", "dialect_for"]
