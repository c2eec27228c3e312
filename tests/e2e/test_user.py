"""``buildbot user``: users of a master, from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from buildbot.master import openMaster
from buildbot.process.users import check_passwd
from tests.support.masters import make_master

pytestmark = pytest.mark.e2e

BUILDBOT = Path(sys.executable).with_name("buildbot")


@pytest.fixture
def basedir(tmp_path: Path) -> Path:
    """A master's directory with the sample configuration."""
    make_master(tmp_path)
    (tmp_path / "master.cfg.sample").replace(tmp_path / "master.cfg")
    return tmp_path


def user(basedir: Path, *arguments: str, code: int = 0) -> str:
    """The output of the command; its exit code is checked."""
    done = subprocess.run(
        [BUILDBOT, "user", *arguments, str(basedir)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_life_of_a_user(basedir: Path) -> None:
    """Add with attributes and a login, show, update, remove; the password is kept as an argon2 hash only."""
    login = ("--bb_username", "ada", "--bb_password", "secret word")
    said = user(basedir, "--op", "add", "--info", "ada:git=Ada <ada@example.org>,svn=ada", *login)
    assert said == "added ada (uid 1)\n"
    shown = user(basedir, "--op", "get", "--ids", "ada")
    assert "git: Ada <ada@example.org>\n" in shown and "svn: ada\n" in shown and "argon2" not in shown
    assert user(basedir, "--op", "update", "--info", "ada:svn=countess") == "updated ada (uid 1)\n"
    assert "svn: countess\n" in user(basedir, "--op", "get", "--ids", "ada")

    master = await openMaster(f"sqlite:///{basedir / 'state.sqlite'}")
    found = await master.db.users.getUserByUsername("ada")
    assert found is not None
    assert found["bb_password"].startswith("$argon2id$") and check_passwd("secret word", found["bb_password"])
    assert not check_passwd("other", found["bb_password"]) and not check_passwd("x", "no hash")
    await master.close()

    assert user(basedir, "--op", "remove", "--ids", "ada") == "removed ada\n"
    assert "there is no user 'ada'" in user(basedir, "--op", "get", "--ids", "ada", code=1)


def test_mistakes(basedir: Path) -> None:
    """Each is named, and nothing is done."""
    assert "--op get needs --ids" in user(basedir, "--op", "get", code=2)
    assert "'git' is not type=value" in user(basedir, "--op", "add", "--info", "git", code=2)
    assert "update needs identifier:type=value" in user(basedir, "--op", "update", "--info", "git=x", code=2)
    assert "goes with --bb_username" in user(basedir, "--op", "add", "--info", "git=x", "--bb_password", "p", code=2)
    assert "there is no user 'nobody'" in user(basedir, "--op", "remove", "--ids", "nobody", code=1)
    user(basedir, "--op", "add", "--info", "one:git=1")
    user(basedir, "--op", "add", "--info", "two:git=2")
    assert "user 1 has git '1'" in user(basedir, "--op", "update", "--info", "two:git=1", code=1)
