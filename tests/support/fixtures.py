"""Fixtures that every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from buildbot.test.fake.fakedb import FakeMaster, make_master
from buildbot.util import guessing
from tests.support.git_servers import HTTPServer, SSHServer, git_over_http, sshd
from tests.support.state import Database, open_database, state_backends

#: capabilities that only a database of several masters has
_SHARED = frozenset({"second_master", "shared_database", "remote_database"})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with ``state`` or ``database`` on every backend that has the capabilities that they ask for."""
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


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    """An sshd that runs git for the holder of one key."""
    with sshd(tmp_path_factory.mktemp("ssh") / "server") as server:
        yield server


@pytest.fixture
def git_http(tmp_path: Path) -> Iterator[HTTPServer]:
    """A server of the repositories below ``tmp_path``, for user ``jo`` with password ``s3cret/%word``."""
    with git_over_http(tmp_path, "jo", "s3cret/%word") as server:
        yield server


@pytest.fixture
def guessing_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits in seconds after wrong passwords; the tests do not really wait, and the first wait has the longest
    time.
    """
    waits: list[float] = []

    def wait(reactor: Any, seconds: float, function: Any) -> Deferred[None]:
        waits.append(seconds)
        return succeed(None)

    monkeypatch.setattr(guessing, "FIRST_WAIT_S", 1000.0)
    monkeypatch.setattr(guessing, "LONGEST_WAIT_S", 1000.0)
    monkeypatch.setattr(guessing, "deferLater", wait)
    return waits
