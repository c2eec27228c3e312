"""The database of a farm, and what may be done to it; the servers are the farm's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from buildbot.db.dialects import dialect_for
from tests.support.servers import Server, own_server, wait_until_it_answers

#: the account of the masters, which may do no more than theirs needs
USER = "farm"

_MAKE = {
    "postgresql": (f"CREATE ROLE {USER} LOGIN", f"CREATE DATABASE {USER} OWNER {USER}"),
    "mysql": (
        f"CREATE DATABASE {USER} CHARACTER SET utf8mb4",
        f"CREATE USER {USER}@localhost, {USER}@'127.0.0.1'",
        f"GRANT ALL ON {USER}.* TO {USER}@localhost, {USER}@'127.0.0.1'",
    ),
}
_SCHEME = {"postgresql": ("postgresql", "postgres"), "mysql": ("mysql", "root")}
#: what the file system of a SQLite database holds, where it can be filled
_ROOM = "192m"


@dataclass
class Database:
    """A database.

    Attributes:
        backend: sqlite, postgresql or mysql.
        url: as masters have it.
        own_url: of an administrator, who is let in when others are not.
        directory: where a SQLite file is.
        server: that runs it.
        is_small: whether the directory is a file system of its own, which can be filled.
    """

    backend: str
    url: str
    own_url: str
    directory: Path
    server: Server | None = None
    is_small: bool = False

    def connect(self) -> Engine:
        """A way to look at it that has nothing to do with the product's."""
        return create_engine(dialect_for(self.own_url).url, isolation_level="AUTOCOMMIT")

    def kill_connections(self) -> None:
        """End all sessions of the masters."""
        engine = self.connect()
        with engine.connect() as conn:
            self._kill_connections(conn)
        engine.dispose()

    def _kill_connections(self, conn: Connection) -> None:
        if self.backend == "postgresql":
            conn.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'"))
            return
        found = conn.execute(text(f"SELECT id FROM information_schema.processlist WHERE user = '{USER}'"))
        for number in found.scalars().all():
            with contextlib.suppress(DBAPIError):  # it has gone meanwhile
                conn.execute(text(f"KILL CONNECTION {number}"))

    @contextmanager
    def no_connections(self) -> Iterator[None]:
        """Let no master in, nor leave one in."""
        engine = self.connect()
        with ExitStack() as stack:
            stack.callback(engine.dispose)
            conn = stack.enter_context(engine.connect())
            if self.backend == "postgresql":
                conn.execute(text(f"ALTER ROLE {USER} CONNECTION LIMIT 0"))
                stack.callback(conn.execute, text(f"ALTER ROLE {USER} CONNECTION LIMIT -1"))
            else:
                usual = conn.execute(text("SELECT @@GLOBAL.max_connections")).scalar_one()
                others = [self.connect() for _ in range(12)]
                for other in others:
                    stack.callback(other.dispose)
                    stack.enter_context(other.connect())
                conn.execute(text("SET GLOBAL max_connections = 10"))
                stack.callback(conn.execute, text(f"SET GLOBAL max_connections = {usual}"))
            self._kill_connections(conn)  # a new connection would not be let in
            yield

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Leave no room."""
        filler = self.directory / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                for size in (1 << 20, 1 << 12):
                    self._fill(file.fileno(), size)
            yield
        finally:
            filler.unlink()

    def _fill(self, descriptor: int, size: int) -> None:
        with contextlib.suppress(OSError):  # no room is left
            while os.write(descriptor, bytes(size)) == size:
                pass


@contextmanager
def own_database(backend: str, directory: Path, small: bool = False) -> Iterator[Database]:
    """A new database.

    Args:
        directory: where a SQLite file may be.
        small: whether that is to be on a file system of its own, which needs the right to mount one.
    """
    if backend == "sqlite":
        place = directory / "database"
        place.mkdir()
        with ExitStack() as stack:
            mounted = small and _mount(place)
            if mounted:
                stack.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
            url = f"sqlite:///{place / 'state.sqlite'}"
            yield Database(backend, url, url, place, is_small=mounted)
        return
    with own_server(backend) as server:
        wait_until_it_answers(server)
        engine = create_engine(dialect_for(server.url).url, isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            for statement in _MAKE[backend]:
                conn.execute(text(statement))
        engine.dispose()
        scheme, administrator = _SCHEME[backend]
        place_of = f"127.0.0.1:{server.port}/{USER}"
        yield Database(
            backend, f"{scheme}://{USER}@{place_of}", f"{scheme}://{administrator}@{place_of}", directory, server
        )


def _mount(place: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "none", str(place)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
