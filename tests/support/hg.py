"""Mercurial repositories for tests, and hg's own server."""

from __future__ import annotations

import copy
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.support.ports import await_port, free_port
from tests.support.tools import program


class _Commands:
    """hg as a server of commands on a pipe: one takes a tenth of the time that a process of hg's takes."""

    def __init__(self, program: str) -> None:
        env = {**os.environ, "HGPLAIN": "1", "HGRCPATH": "", "HGENCODING": "UTF-8"}
        command = [program, "serve", "--cmdserver", "pipe"]
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._read()  # its greeting

    def run(self, *args: str) -> str:
        """The output of a command; CalledProcessError if it fails."""
        words = b"\0".join(os.fsencode(each) for each in args)
        assert self._process.stdin is not None
        self._process.stdin.write(b"runcommand\n" + struct.pack(">I", len(words)) + words)
        self._process.stdin.flush()
        said = {b"o": b"", b"e": b""}
        while True:
            channel, data = self._read()
            if channel == b"r":
                break
            said[channel] += data
        (code,) = struct.unpack(">i", data)
        if code:
            raise subprocess.CalledProcessError(code, args, said[b"o"], said[b"e"])
        return said[b"o"].decode()

    def _read(self) -> tuple[bytes, bytes]:
        """Channel and content of the next message."""
        assert self._process.stdout is not None
        channel, length = struct.unpack(">cI", self._process.stdout.read(5))
        return channel, self._process.stdout.read(length)


_commands = cache(_Commands)


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
        """The output of hg."""
        return _commands(self.hg_program).run("-R", str(self.path), "--cwd", str(self.path), *args).strip()

    def commit(self, name: str, content: str, message: str | None = None) -> str:
        """Commit a file on the branch that is checked out; the revision. Each commit is a second later than the last
        one.
        """
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
