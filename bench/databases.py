"""Databases for actors: one by name, dropped again at the end.

``TENFOLD_TEST_POSTGRESQL`` and ``TENFOLD_TEST_MYSQL`` name servers, as for the tests.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

BACKENDS = ("sqlite", "postgresql", "mysql")
_VARIABLES = {"postgresql": "TENFOLD_TEST_POSTGRESQL", "mysql": "TENFOLD_TEST_MYSQL"}
#: mysqlclient where it is installed, for ourselves and for the plain driver
MYSQL_DRIVER = "pymysql" if find_spec("MySQLdb") is None else "mysqldb"
_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "mysql": f"mysql+{MYSQL_DRIVER}"}
_CREATE = {"postgresql": "CREATE DATABASE {}", "mysql": "CREATE DATABASE {} CHARACTER SET utf8mb4"}
_DROP = {"postgresql": "DROP DATABASE IF EXISTS {} WITH (FORCE)", "mysql": "DROP DATABASE IF EXISTS {}"}


class NoServerError(Exception):
    """There is no server of that kind."""


@contextmanager
def new_database(backend: str, name: str, directory: Path) -> Iterator[str]:
    """The URL of a new, empty database.

    Args:
        name: what it is for; part of its name.
        directory: where SQLite files are kept; on a disk, or durability costs nothing.

    Raises NoServerError.
    """
    unique = f"tenfold_bench_{name}_{uuid.uuid4().hex[:8]}"
    if backend == "sqlite":
        path = directory.absolute() / f"{unique}.sqlite"
        try:
            yield f"sqlite:///{path}"
        finally:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
        return
    server = _server(backend)
    _execute(server, _CREATE[backend].format(unique))
    try:
        url = server.set(database=unique)
        if backend == "mysql":
            url = url.set(drivername=_DRIVERS[backend])
        yield url.render_as_string(hide_password=False)
    finally:
        _execute(server, _DROP[backend].format(unique))


def with_driver(url: str) -> URL:
    """The URL with the driver that this project has."""
    parsed = make_url(url)
    return parsed.set(drivername=_DRIVERS[parsed.get_backend_name()])


def _server(backend: str) -> URL:
    configured = os.environ.get(_VARIABLES[backend])
    if not configured:
        raise NoServerError(f"no {backend}: {_VARIABLES[backend]} is not set")
    return with_driver(configured).set(drivername=backend)


def _execute(server: URL, statement: str) -> None:
    engine = create_engine(with_driver(server.render_as_string(hide_password=False)), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()
