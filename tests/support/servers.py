"""Database servers of a test's own, which it may kill: PostgreSQL and MariaDB, from Debian's packages."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from buildbot.db.dialects import dialect_for


class Server:
    """A database server in a directory, on a port of its own."""

    #: the account that it runs as if the tests run as root, which servers refuse
    account = ""
    #: the signal that closes all connections and ends the server cleanly
    fast_shutdown = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None
        #: the server's log, beside its directory
        self._log = directory.with_suffix(".log").open("ab")
        self.user = self.account if os.geteuid() == 0 else None
        directory.mkdir()
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(directory, entry.pw_uid, entry.pw_gid)

    @classmethod
    def is_installed(cls) -> bool:
        """Whether its programs are on this machine."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The command that runs the server in the foreground."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the server's files."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The URL of a database that every new server has."""
        raise NotImplementedError

    def start(self) -> None:
        """Run it; it may not answer yet. Ctrl-C does not reach it."""
        self.process = subprocess.Popen(
            self.command(),
            user=self.user,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )

    def kill(self) -> None:
        """End it as a crash of the machine would."""
        assert self.process is not None
        if self.process.poll() is not None:
            return
        pid = self.process.pid
        self.process.send_signal(signal.SIGSTOP)  # so that it makes no more children
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.process.send_signal(signal.SIGKILL)
        for child in children:  # PostgreSQL does not start while one of them holds its memory
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Kill the server, which closes all connections at once, and start it again with all committed rows."""
        self.kill()
        self.start()

    def restart_in_order(self) -> None:
        """Close all connections, write everything to disk, and start again."""
        assert self.process is not None
        self.process.send_signal(self.fast_shutdown)
        self.process.wait()
        self.start()

    def run(self, *command: str) -> None:
        """Run a tool as the server's account."""
        done = subprocess.run(command, user=self.user, capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr


class PostgreSQL(Server):
    """A cluster made by initdb."""

    account = "postgres"
    fast_shutdown = signal.SIGINT

    @staticmethod
    def _tool(name: str) -> str | None:
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        return str(found[-1]) if found else None

    @classmethod
    def is_installed(cls) -> bool:
        return cls._tool("initdb") is not None

    def prepare(self) -> None:
        data = str(self.directory / "data")
        text = ["--encoding=UTF8", "--locale=C.UTF-8"]
        self.run(self._tool("initdb") or missing("no initdb here"), "-D", data, "-U", "postgres", "-A", "trust", *text)

    def command(self) -> list[str]:
        postgres = self._tool("postgres") or missing("no postgres here")
        settings = [
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.directory}",
            # in its directory, so that a killed server leaves no files elsewhere
            "dynamic_shared_memory_type=mmap",
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        return [postgres, "-D", str(self.directory / "data"), "-p", str(self.port), *options]

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"


class MariaDB(Server):
    """A data directory made by mariadb-install-db."""

    account = "mysql"

    @staticmethod
    def _tool(name: str) -> str | None:
        return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")

    @classmethod
    def is_installed(cls) -> bool:
        return cls._tool("mariadbd") is not None and cls._tool("mariadb-install-db") is not None

    def prepare(self) -> None:
        install = self._tool("mariadb-install-db") or missing("no mariadb-install-db here")
        data = f"--datadir={self.directory / 'data'}"
        self.run(install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db")

    def command(self) -> list[str]:
        return [
            self._tool("mariadbd") or missing("no mariadbd here"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--port={self.port}",
            f"--socket={self.directory / 'socket'}",
            "--bind-address=127.0.0.1",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=128M",
        ]

    def restart(self) -> None:
        """No crash: InnoDB shows commits to other connections before they are on disk, so a crash may undo commits
        that a client has seen.
        """
        self.restart_in_order()

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/mysql"


SERVERS: dict[str, type[Server]] = {"postgresql": PostgreSQL, "mysql": MariaDB}


@contextmanager
def own_server(backend: str) -> Iterator[Server]:
    """A running server; killed at the end.

    Not below pytest's directories: those are closed to the accounts that servers run as.
    """
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        server = SERVERS[backend](Path(directory) / backend)
        server.prepare()
        server.start()
        try:
            yield server
        finally:
            server.kill()


def wait_until_it_answers(server: Server) -> None:
    """Connect until that succeeds; a server that has ended is an error."""
    engine = create_engine(dialect_for(server.url).url)
    while server.process is not None:
        assert server.process.poll() is None, "the server has ended"
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            break
        except DBAPIError:
            time.sleep(0.05)  # there is no event to wait for: the server is another process that starts
    engine.dispose()


def missing(message: str) -> NoReturn:
    """Skip the test, or fail it where backends are required."""
    if os.environ.get("CI") or os.environ.get("TENFOLD_REQUIRE_BACKENDS"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
