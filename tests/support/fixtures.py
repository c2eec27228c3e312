"""Fixtures that every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from buildbot.test.fake.fakedb import FakeMaster, make_master
from tests.support.state import Database, open_database, state_backends

#: what only databases that several masters share can give
_SHARED = frozenset({"second_master", "shared_database", "remote_database"})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for ``state`` or ``database`` on every backend that can give what it asks for."""
    if "database" in metafunc.fixturenames:
        shared = not _SHARED.isdisjoint(metafunc.fixturenames)
        backends = state_backends(shared)
        if "remote_database" in metafunc.fixturenames:
            backends = tuple(backend for backend in backends if backend != "sqlite")
        metafunc.parametrize("database", backends, indirect=True, scope="session")


@pytest.fixture
def master() -> Iterator[FakeMaster]:
    """The state layer of an active master on a database in memory; its calls run at once."""
    made = make_master()
    yield made
    made.mq.stop()
    made.db.close()


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A migrated database of one backend, shared by all tests of the session."""
    with open_database(request.param, tmp_path_factory.mktemp("database")) as opened:
        yield opened


@pytest.fixture
def empty_database(database: Database) -> Database:
    """The session's database without a row in it."""
    database.empty()
    return database


@pytest.fixture
def shared_database(empty_database: Database) -> Database:
    """As ``empty_database``, only of backends that several masters can use at once."""
    return empty_database


@pytest.fixture
def remote_database(empty_database: Database) -> Database:
    """As ``empty_database``, only of backends whose server is another process."""
    return empty_database


@pytest.fixture
def state(empty_database: Database) -> Iterator[Any]:
    """The state layer of an active master, alone on an empty database of each backend."""
    with empty_database.master("host:/alpha") as made:
        yield made


@pytest.fixture
def second_master(state: Any, database: Database) -> Iterator[Any]:
    """Another active master on the database of ``state``."""
    with database.master("host:/beta") as made:
        yield made
