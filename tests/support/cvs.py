"""CVS's own server for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import socketserver
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.threads import in_thread
from tests.support.tools import program

#: of the password s3cret, as crypt(3) makes it
_HASH = "abhWCwoTZY2c6"


class _Server(socketserver.ThreadingTCPServer):
    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Give the connection to a process of cvs."""
        command = [program("cvs"), "-f", f"--allow-root={self.server.root}", "pserver"]
        subprocess.run(command, stdin=self.request, stdout=self.request, stderr=subprocess.DEVNULL, check=False)


@contextmanager
def pserver(root: Path) -> Iterator[str]:
    """The address of a server of a copy of a repository: ``127.0.0.1:PORT/PATH``. It lets in user jo, password s3cret.

    CVS refuses to serve as root. So it serves as ``nobody`` then, and the copy is in a directory open to that account.
    """
    account = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        served = Path(shutil.copytree(root, Path(directory) / "root"))
        (served / "CVSROOT" / "passwd").write_text(f"jo:{_HASH}:{account}\n")
        for path in (served, *served.rglob("*")) if account == "nobody" else ():
            shutil.chown(path, account)
        with in_thread(_Server(served)) as server:
            yield f"127.0.0.1:{server.server_address[1]}{served}"
