"""Directories for tests of running masters: copied, and migrated in this process.

`buildbot create-master` and `buildbot upgrade-master` take a second each, which is not the tests' subject but in
`tests/e2e/test_cli.py` and `tests/docs`.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy.engine import make_url

from buildbot.db.dialects import dialect_for
from buildbot.db.model import upgrade

BUILDBOT = Path(sys.executable).with_name("buildbot")
_DATABASE = "state.sqlite"


def make_master(directory: Path) -> None:
    """As ``buildbot create-master`` leaves a directory, but that no master is known to the database."""
    shutil.copytree(_template(), directory, dirs_exist_ok=True)


def migrate(url: str) -> None:
    """Give a database the schema of this version, as ``buildbot upgrade-master`` does."""
    found = make_url(url)
    if found.get_backend_name() == "sqlite" and found.database and not Path(found.database).exists():
        shutil.copy(_template() / _DATABASE, found.database)
    else:
        _upgrade(url)


def _upgrade(url: str) -> None:
    engine = dialect_for(url).create_engine()
    upgrade(engine)
    engine.dispose()


@cache
def _template() -> Path:
    made = Path(tempfile.mkdtemp(prefix="master-"))
    atexit.register(shutil.rmtree, made)
    directory = made / "master"
    subprocess.run([BUILDBOT, "create-master", "--quiet", directory], check=True)
    mode = (directory / _DATABASE).stat().st_mode
    for left in directory.glob(f"{_DATABASE}*"):
        left.unlink()
    _upgrade(f"sqlite:///{directory / _DATABASE}")
    (directory / _DATABASE).chmod(mode)
    return directory
