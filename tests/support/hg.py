"""Mercurial repositories for tests, and hg's own server."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.git_servers import await_port, free_port
from tests.support.tools import program


class HgRepository:
    """A repository with two commits on ``default``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hg_program = program("hg")
        self.clock = 1_600_000_000
        path.mkdir()
        self.hg("init")
        self.first = self.commit("file", "one\n")
        self.second = self.commit("file", "two\n")

    def copy(self, path: Path) -> HgRepository:
        """The same one elsewhere."""
        shutil.copytree(self.path, path)
        other = copy.copy(self)
        other.path = path
        return other

    def hg(self, *args: str) -> str:
        """What hg prints."""
        env = {**os.environ, "HGPLAIN": "1", "HGRCPATH": "", "HGENCODING": "UTF-8"}
        done = subprocess.run(
            [self.hg_program, "-R", self.path, "--cwd", self.path, *args],
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, name: str, content: str, message: str | None = None) -> str:
        """Commit a file on the branch that is checked out; the revision. Each is a second after the one before."""
        self.clock += 1
        (self.path / name).write_text(content)
        self.hg("commit", "-q", "-A", "-u", "Jo <jo@example.org>", "-d", f"{self.clock} 0", "-m", message or content)
        return self.hg("log", "-r", ".", "-T", "{node}")


@contextmanager
def hg_serve(*repositories: HgRepository) -> Iterator[str]:
    """The address of a server of repositories, which ends with a slash; each is below it by its directory's name."""
    port = free_port()
    config = repositories[0].path.parent / "hgweb.conf"
    config.write_text("[paths]\n" + "".join(f"{each.path.name} = {each.path}\n" for each in repositories))
    env = {**os.environ, "HGRCPATH": ""}
    command = [repositories[0].hg_program, "serve", "-a", "127.0.0.1", "-p", str(port), "--web-conf", str(config)]
    server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(port, server)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()
