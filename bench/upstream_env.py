"""Upstream's own virtual environment, made at first use. Its source is not part of this project and is not read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from bench.databases import new_database
from bench.process import ROOT

VERSION = "4.3.0"
_DRIVERS = {"sqlite": None, "postgresql": "psycopg2-binary", "mysql": "PyMySQL"}
_URLS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg2", "mysql": "mysql+pymysql"}


class NoUpstreamError(Exception):
    """Upstream cannot be measured on a backend; the message says why."""


class UpstreamEnvironment:
    """``directory`` holds the environment; ``python`` runs in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.python = directory / "bin" / "python"

    def prepare(self, backend: str) -> None:
        """Install what is missing for a backend. Raises NoUpstreamError."""
        stamp = self._directory / f".installed-{VERSION}-worker-{backend}"
        if stamp.exists():
            return
        if not self.python.exists():
            print(f"making the virtual environment of Buildbot {VERSION}, once", file=sys.stderr)
            _run([sys.executable, "-m", "venv", str(self._directory)])
        packages = [f"{name}=={VERSION}" for name in ("buildbot", "buildbot-www", "buildbot-worker")]
        packages += filter(None, [_DRIVERS[backend]])
        _run([str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
        stamp.touch()

    def url(self, db_url: str) -> str:
        """The URL with the driver that upstream uses."""
        url = make_url(db_url)
        return url.set(drivername=_URLS[url.get_backend_name()]).render_as_string(hide_password=False)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()] or ["no message"]
        raise NoUpstreamError(f"{' '.join(command[1:])} failed: {said[0]}")


@dataclass(frozen=True)
class UpstreamDatabase:
    """A new database with upstream's schema, and how its programs are started."""

    #: as we write it, and as upstream does
    url: str
    theirs: str
    #: where its programs run: its package has the name of ours, so neither the checkout nor the current directory may
    #: be on its path
    elsewhere: Path
    python: Path

    def command(self, script: str, *arguments: str) -> list[str]:
        """What runs one of the actors with upstream's package."""
        return [str(self.python), "-P", str(ROOT / "bench" / "actors" / script), *arguments]


@contextmanager
def upstream_database(backend: str, name: str, directory: Path) -> Iterator[UpstreamDatabase]:
    """For the time of a block. Raises NoUpstreamError."""
    environment = UpstreamEnvironment(directory / "upstream")
    environment.prepare(backend)
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    with new_database(backend, name, directory) as url:
        made = UpstreamDatabase(url, environment.url(url), elsewhere, environment.python)
        subprocess.run(made.command("upstream_schema.py", made.theirs), cwd=elsewhere, check=True)
        yield made
