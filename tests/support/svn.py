"""Subversion repositories for tests, and svn's own server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import await_port, free_port
from tests.support.tools import program


class SvnRepository:
    """A repository with ``trunk`` and ``branches``; revision 1 makes them, 2 and 3 commit ``trunk/file``."""

    def __init__(self, directory: Path) -> None:
        self.svn_program = program("svn")
        self.path = directory / "repository"
        self.working = directory / "working"
        directory.mkdir(parents=True)
        subprocess.run([program("svnadmin"), "create", self.path], check=True)
        self.svn("checkout", "-q", self.url, str(self.working))
        for name in ("trunk", "branches"):
            self.svn("mkdir", "-q", str(self.working / name))
        self.commit({}, "layout")
        self.commit({"trunk/file": "one\n"})
        self.commit({"trunk/file": "two\n"})

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def svn(self, *args: str) -> str:
        """The output of svn."""
        command = [self.svn_program, "--non-interactive", *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, files: dict[str, str], message: str = "message", author: str = "jo") -> str:
        """Write files and commit them; the revision."""
        for name, content in files.items():
            path = self.working / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            self.svn("add", "-q", "--force", "--parents", str(path))
        self.svn("commit", "-q", "-m", message, "--username", author, str(self.working))
        self.svn("update", "-q", str(self.working))
        return self.svn("info", "--show-item", "revision", str(self.working))


@contextmanager
def svnserve(repository: SvnRepository, user: str, password: str) -> Iterator[str]:
    """The address of a server of the repository that lets one user in."""
    conf = repository.path / "conf"
    (conf / "svnserve.conf").write_text("[general]\nanon-access = none\nauth-access = write\npassword-db = passwd\n")
    (conf / "passwd").write_text(f"[users]\n{user} = {password}\n")
    port = free_port()
    command = [
        program("svnserve"),
        "--daemon",
        "--foreground",
        "--listen-host",
        "127.0.0.1",
        "--listen-port",
        str(port),
    ]
    server = subprocess.Popen([*command, "--root", str(repository.path)])
    try:
        await_port(port, server)
        yield f"svn://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
