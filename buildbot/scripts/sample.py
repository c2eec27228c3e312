"""The sample configuration, with the values of an installation."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

NAME = "master.cfg.sample"
DEFAULT_DB_URL = "sqlite:///state.sqlite"
DEFAULT_REPOSITORY = "https://github.com/buildbot/hello-world.git"


def render(db_url: str = DEFAULT_DB_URL, repository: str = DEFAULT_REPOSITORY, password: str = "pass") -> str:
    """The text of a master.cfg that builds ``repository``.

    Args:
        db_url: the URL of the database.
        repository: the git repository that it polls, a URL or a path.
        password: the password of its worker.
    """
    text = files("buildbot.scripts").joinpath(NAME).read_text(encoding="utf-8")
    for place, value in (("@DB_URL@", db_url), ("@REPOSITORY@", repository), ("@PASSWORD@", password)):
        text = text.replace(f'"{place}"', repr(value))
    return text


def write_sample(basedir: Path) -> None:
    """Write the sample of this version into a master's directory.

    Raises:
        OSError: it cannot be written.
    """
    (basedir / NAME).write_text(render(), encoding="utf-8")
