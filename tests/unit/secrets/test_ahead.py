"""The database URL with secrets in it, before there is a master."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.plugins import secrets, util
from buildbot.secrets.ahead import db_url_now, db_url_of
from tests.support.reactor import reactor


@pytest.fixture
def provider(tmp_path: Path) -> Any:
    """A provider with the secret ``password``, and one that is empty."""
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o700)
    for name, value in (("password", "p%40ss%(basedir)s"), ("empty", "")):
        (directory / name).write_text(value)
        (directory / name).chmod(0o600)
    return secrets.SecretInAFile(str(directory))


def config(db_url: Any, *providers: Any) -> MasterConfig:
    return MasterConfig(Path("/m"), db_url=db_url, secretsProviders=providers)


async def test_secrets_are_asked_for(provider: Any) -> None:
    """A renderable gives the URL; its secrets are read at each call."""
    asked = config(util.Interpolate("postgresql://ci:%(secret:password)s@db/ci"), provider)
    for _ in range(2):
        assert await db_url_of(asked, Path("/m"), reactor) == "postgresql://ci:p%40ss%(basedir)s@db/ci"
    plain = config("sqlite:///x.sqlite", provider)
    assert await db_url_of(plain, Path("/m"), reactor) == db_url_now(plain, Path("/m")) == "sqlite:///x.sqlite"


@pytest.mark.parametrize(
    ("db_url", "said"),
    [
        (util.Secret("none"), "db_url: secret key none is not found in any provider"),
        (util.Secret("password"), "db_url: is not a database URL; write it like"),
        (util.Secret("empty"), "db_url: is not a database URL; write it like"),
        (util.Property("port"), "db_url: must be a database URL such as 'sqlite:///state.sqlite', not None"),
    ],
)
async def test_mistakes(provider: Any, db_url: Any, said: str) -> None:
    """A wrong result is an error of the configuration, which does not show a secret."""
    with pytest.raises(ConfigErrors) as caught:
        await db_url_of(config(db_url, provider), Path("/m"), reactor)
    (message,) = caught.value.errors
    assert message.startswith(said) and "p%40ss" not in message


def test_before_the_reactor(tmp_path: Path, provider: Any) -> None:
    """Commands read secrets before Twisted's reactor runs, which can run later."""
    program = f"""
from pathlib import Path
from buildbot.config.master import MasterConfig
from buildbot.plugins import secrets, util
from buildbot.scripts.reactor import run
from buildbot.secrets.ahead import db_url_now

provider = secrets.SecretInAFile({str(tmp_path / "secrets")!r})
config = MasterConfig(Path("/m"), db_url=util.Interpolate("sqlite:///%(secret:password)s"), secretsProviders=[provider])
print(db_url_now(config, Path("/m")))

async def work():
    print("ran")

run(work)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "sqlite:///p%40ss%(basedir)s\nran\n"
