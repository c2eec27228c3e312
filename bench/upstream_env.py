"""Upstream's own virtual environment, made at first use. Its source is not part of this project and is not read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

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
        stamp = self._directory / f".installed-{VERSION}-www-{backend}"
        if stamp.exists():
            return
        if not self.python.exists():
            print(f"making the virtual environment of Buildbot {VERSION}, once", file=sys.stderr)
            _run([sys.executable, "-m", "venv", str(self._directory)])
        packages = [f"buildbot=={VERSION}", f"buildbot-www=={VERSION}", *filter(None, [_DRIVERS[backend]])]
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
