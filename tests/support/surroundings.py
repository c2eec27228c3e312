"""Runs the tests with all their files in memory: ``python -m tests.support.surroundings COMMAND…``.

Where the machine has room, the command's ``TMPDIR`` is a new directory in memory, and there are new PostgreSQL and
MariaDB servers in it; all of it is gone when the command has ended. A new MariaDB database takes half a second there,
and five seconds on a disk, for which each of its hundred tables and indexes waits.

What the environment says goes before: ``TMPDIR``, with which nothing is put into memory, and
``TENFOLD_TEST_POSTGRESQL`` and ``TENFOLD_TEST_MYSQL``. Where no server can be started here, those of this machine are
tried.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pymysql

from tests.support.databases import VARIABLES, selected_backends
from tests.support.servers import SERVERS, own_server, wait_until_it_answers

MEMORY = Path("/dev/shm")
#: a whole run uses up to a third of it
NEEDED_BYTES = 4 << 30
_MARIADB_SOCKET = Path("/run/mysqld/mysqld.sock")


def room_in_memory(place: Path = MEMORY, needed_bytes: int = NEEDED_BYTES) -> bool:
    """Whether files may be made in memory: there is space, programs may be run there, and memory is free."""
    try:
        found = os.statvfs(place)
        available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return False
    if found.f_flag & (os.ST_NOEXEC | os.ST_RDONLY) or available is None:
        return False
    return min(found.f_bavail * found.f_frsize, int(available[1]) << 10) >= needed_bytes


@contextmanager
def surroundings(in_memory: bool) -> Iterator[dict[str, str]]:
    """The environment variables for the tests; with ``in_memory`` a new directory in memory, and servers in it."""
    wanted = [
        backend for backend in selected_backends() if backend in SERVERS and not os.environ.get(VARIABLES[backend])
    ]
    told: dict[str, str] = {}
    with ExitStack() as stack:
        if in_memory:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tenfold-", dir=MEMORY))
            os.chmod(directory, 0o1777)  # servers run as others, and write here too
            told["TMPDIR"] = tempfile.tempdir = directory
            for backend in wanted:
                if SERVERS[backend].is_installed():
                    server = stack.enter_context(own_server(backend))
                    wait_until_it_answers(server)
                    told[VARIABLES[backend]] = server.url
        for backend in wanted:
            told.setdefault(VARIABLES[backend], _of_this_machine(backend))
        yield told


def _of_this_machine(backend: str) -> str:
    """The URL of a server that runs on this machine already."""
    if backend == "postgresql":
        return "postgresql://postgres@127.0.0.1:5432/postgres"
    # Debian's own MariaDB lets root in by the socket only, others by TCP with an empty password.
    if _MARIADB_SOCKET.is_socket():
        try:
            pymysql.connect(host="127.0.0.1", user="root").close()
        except pymysql.MySQLError:
            return f"mysql://root@localhost/mysql?unix_socket={_MARIADB_SOCKET}"
    return "mysql://root@127.0.0.1:3306/mysql"


def main(command: Sequence[str]) -> int:
    """Run it; its exit code."""
    with surroundings("TMPDIR" not in os.environ and room_in_memory()) as told:
        process = subprocess.Popen(command, env=os.environ | told)
        # Ctrl-C reaches the tests as well, which end by themselves; other signals are passed on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
