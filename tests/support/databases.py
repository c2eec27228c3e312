"""Databases for tests, one backend by name: ``sqlite``, ``postgresql`` or ``mysql`` (MariaDB too).

Each test gets a database of its own and drops it again, so tests may run beside each other. The environment says where
the servers are (script/test sets it):

- ``TENFOLD_TEST_POSTGRESQL``, ``TENFOLD_TEST_MYSQL``: URLs of somebody who may create databases;
- ``TENFOLD_TEST_BACKENDS``: the backends to use, separated by commas; all by default;
- ``CI`` or ``TENFOLD_REQUIRE_BACKENDS``: a server that is missing is a failure instead of a skip.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

BACKENDS = ("sqlite", "postgresql", "mysql")
#: the servers of ``mysql`` by another driver, for tests of the state layer
MYSQLCLIENT = "mysqlclient"

#: the variables with the servers' URLs
VARIABLES = {"postgresql": "TENFOLD_TEST_POSTGRESQL", "mysql": "TENFOLD_TEST_MYSQL"}
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
_CREATE = {
    "postgresql": "CREATE DATABASE {name}",
    "mysql": "CREATE DATABASE {name} CHARACTER SET utf8mb4",
}
_DROP = {
    "postgresql": "DROP DATABASE IF EXISTS {name} WITH (FORCE)",
    "mysql": "DROP DATABASE IF EXISTS {name}",
}


def selected_backends() -> tuple[str, ...]:
    """The backends that tests are to run on, in a fixed order; for ``pytest.mark.parametrize``."""
    wanted = os.environ.get("TENFOLD_TEST_BACKENDS", ",".join(BACKENDS)).split(",")
    unknown = set(wanted) - set(BACKENDS)
    if unknown:
        raise ValueError(f"TENFOLD_TEST_BACKENDS names {', '.join(sorted(unknown))}; there are {', '.join(BACKENDS)}")
    return tuple(backend for backend in BACKENDS if backend in wanted)


@contextmanager
def database_url(backend: str, name: str, directory: Path | None = None) -> Iterator[str]:
    """The URL of a new, empty database, which is dropped when the block ends.

    Args:
        backend: one of `BACKENDS`, or `MYSQLCLIENT`.
        name: what the database is for; part of its name.
        directory: where a SQLite database is kept; without one it is in memory.

    Skips the test, or fails it in CI, where the backend's server does not answer.
    """
    unique = f"tenfold_{name}_{uuid.uuid4().hex[:12]}"
    if backend == "sqlite":
        yield f"sqlite:///{directory / unique}.sqlite" if directory else "sqlite://"
        return
    if backend == MYSQLCLIENT and find_spec("MySQLdb") is None:
        _missing("mysqlclient is not installed; it needs the headers of MariaDB (Debian: libmariadb-dev, pkg-config)")
    driver = "mysql+mysqldb" if backend == MYSQLCLIENT else _DRIVERS[backend]
    backend = "mysql" if backend == MYSQLCLIENT else backend
    server = _server(backend)
    _execute(server, backend, _CREATE[backend].format(name=unique))
    try:
        yield server.set(database=unique, drivername=driver).render_as_string(hide_password=False)
    finally:
        _execute(server, backend, _DROP[backend].format(name=unique))


def _server(backend: str) -> URL:
    variable = VARIABLES[backend]
    configured = os.environ.get(variable)
    if not configured:
        _missing(f"no {backend} to test on: {variable} is not set")
    url = make_url(configured)
    try:
        _execute(url, backend, "SELECT 1")
    except DBAPIError as reason:
        _missing(f"no {backend} to test on: {variable} does not answer ({str(reason.orig).strip()})")
    return url


def _execute(url: URL, backend: str, statement: str) -> None:
    engine = create_engine(url.set(drivername=_DRIVERS[backend]), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


def _missing(message: str) -> NoReturn:
    if os.environ.get("CI") or os.environ.get("TENFOLD_REQUIRE_BACKENDS"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
