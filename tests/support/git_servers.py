"""Servers that git talks to: a local sshd, and git's own program for HTTP behind a small server with passwords."""

from __future__ import annotations

import base64
import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.support.http import Handler
from tests.support.ports import await_port, free_port
from tests.support.threads import in_thread
from tests.support.tools import program


class SSHServer:
    """A running sshd that lets one key in.

    Attributes:
        key: the private key, as text.
        host_key: the server's public key, as ``sshHostKey`` has it.
        port: the port that it listens on, at 127.0.0.1.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self.key = (directory / "user").read_text()
        kind, key, *_ = (directory / "host.pub").read_text().split()
        self.host_key = f"{kind} {key}"

    def url(self, path: Path) -> str:
        """The address of a directory."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"


@contextmanager
def sshd(directory: Path) -> Iterator[SSHServer]:
    """An sshd with keys of its own."""
    daemon, keygen = program("sshd"), program("ssh-keygen")
    directory.mkdir()
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    (directory / "config").write_text(
        f"""
        Port {port}
        ListenAddress 127.0.0.1
        HostKey {directory}/host
        AuthorizedKeysFile {directory}/user.pub
        PidFile none
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        PermitRootLogin prohibit-password
        """
    )
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen([daemon, "-D", "-e", "-f", directory / "config"], stderr=log)
    try:
        await_port(port, server)
        yield SSHServer(directory, port)
    finally:
        server.terminate()
        server.wait()


class HTTPServer(ThreadingHTTPServer):
    """Serves the repositories below a directory to clients with the password."""

    def __init__(self, root: Path, user: str, password: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.paths: list[str] = []

    def url(self, path: Path) -> str:
        """The address of a repository."""
        return f"http://127.0.0.1:{self.server_port}/{path.relative_to(self.root)}"


class _Handler(Handler):
    server: HTTPServer

    def _serve(self) -> None:
        self.server.paths.append(self.path)
        if self.headers.get("Authorization") != self.server.authorization:
            self.reply(b"", 401, {"WWW-Authenticate": 'Basic realm="git"'})
            return
        path, _, query = self.path.partition("?")
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": "user",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.partition(": ")[::2] for line in head.decode().split("\r\n"))
        self.reply(content, int(headers.get("Status", "200").split()[0]), headers)

    do_GET = do_POST = _serve


@contextmanager
def git_over_http(root: Path, user: str, password: str) -> Iterator[HTTPServer]:
    """A server of the repositories below ``root``."""
    with in_thread(HTTPServer(root, user, password)) as server:
        yield server
