"""``buildbot container``"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from buildbot.config import load_config
from buildbot.scripts import basedir as basedirs
from buildbot.scripts import failures, settings
from buildbot.scripts.basedir import Basedir
from buildbot.scripts.database import upgrade
from buildbot.scripts.options import basedir_argument
from buildbot.scripts.settings import Settings
from buildbot.scripts.start import start
from buildbot.secrets.ahead import db_url_now
from buildbot.util.basedirlock import BasedirLock
from buildbot.util.urls import public_url

_TIMEOUT_S = 60
_MOST_BYTES = 200_000_000
_CONFIG = "master.cfg"


@click.command("container")
@basedir_argument
@click.option(
    "--config-url", envvar="BUILDBOT_CONFIG_URL", metavar="URL",
    help="The URL of the configuration: a .tar.gz, or a master.cfg. Default: it is in BASEDIR already.",
)  # fmt: skip
@click.option(
    "--config-dir", envvar="BUILDBOT_CONFIG_DIR", default="config", show_default=True, metavar="DIR",
    help="The directory of the configuration, in BASEDIR.",
)  # fmt: skip
@click.option(
    "--wait", default=60.0, show_default=True, metavar="S", help="Seconds to wait for the server of the database."
)
def command(basedir: str, config_url: str | None, config_dir: str, wait: float) -> None:
    """Run as the process of a container: set up the master in BASEDIR, and run it in the foreground.

    The configuration is fetched from BUILDBOT_CONFIG_URL, if that is set. The command waits for the database and brings
    it up to date. The log goes to the terminal, too; SIGTERM stops the master.
    """
    path = Path(os.path.abspath(basedir))
    with failures.as_messages(path):
        path.mkdir(parents=True, exist_ok=True)
        directory = path / config_dir
        if config_url:
            fetch(config_url, directory)
        found = prepared(path, directory)
        with BasedirLock(path):
            config = load_config(found.path, found.settings.configfile)
            await_server(db_url_now(config, path), path, wait)
            _upgraded(found)
    start(found, nodaemon=True, quiet=False)


def _upgraded(found: Basedir) -> None:
    """Bring the database up to date, in another process: a reactor runs only once in a process."""
    done = subprocess.run([sys.executable, "-m", "buildbot.scripts.container", str(found.path)], check=False)
    if done.returncode != 0:
        raise click.ClickException("the database cannot be brought up to date")


def prepared(basedir: Path, directory: Path) -> Basedir:
    """The master's directory, with a ``buildbot.tac``, which is written if it is missing.

    Args:
        basedir: the master's directory.
        directory: where ``master.cfg`` is looked for first.

    Raises:
        click.ClickException: there is no configuration.
    """
    tac = basedir / settings.FILE
    if not tac.exists():
        places = [each / _CONFIG for each in (directory, basedir)]
        there = next((each for each in places if each.is_file()), None)
        if there is None:
            raise click.ClickException(
                f"there is no configuration: no '{places[0]}', no '{places[1]}', and BUILDBOT_CONFIG_URL is not set"
            )
        tac.write_text(Settings(os.path.relpath(there, basedir)).render(), encoding="utf-8")
    return basedirs.find(str(basedir))


def fetch(url: str, directory: Path) -> None:
    """Fetch a configuration into a directory.

    Raises:
        click.ClickException: it cannot be fetched, is too large, or is no archive though its name says so.
        OSError: the directory cannot be written.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            content: bytes = answer.read(_MOST_BYTES + 1)
    except (urllib.error.URLError, TimeoutError, ValueError) as reason:
        raise click.ClickException(f"the configuration cannot be fetched from {public_url(url)}: {reason}") from None
    if len(content) > _MOST_BYTES:
        raise click.ClickException(f"the configuration at {public_url(url)} has more than {_MOST_BYTES} bytes")
    directory.mkdir(parents=True, exist_ok=True)
    if not url.partition("?")[0].endswith(".tar.gz"):
        (directory / _CONFIG).write_bytes(content)
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            _unpack(archive, directory)
    except (tarfile.TarError, EOFError, KeyError, OSError) as reason:
        if isinstance(reason, OSError) and reason.errno is not None:
            raise
        raise click.ClickException(f"the archive at {public_url(url)} cannot be unpacked: {reason}") from None


def _unpack(archive: tarfile.TarFile, directory: Path) -> None:
    """Unpack an archive; if it has a single directory at its top, the content of that directory."""
    members = archive.getmembers()
    tops = {PurePosixPath(member.name).parts[:1] for member in members} - {()}
    wrapped = len(tops) == 1 and not any(member.isfile() and "/" not in member.name for member in members)
    for member in members:
        parts = PurePosixPath(member.name).parts
        inside = parts[1:] if wrapped else parts
        if inside:
            # the filter refuses paths of the archive that lead out of the directory
            archive.extract(member.replace(name="/".join(inside), deep=False), directory, filter="data")


def await_server(db_url: str, basedir: Path, wait_s: float) -> None:
    """Wait until the server of a database accepts connections.

    Raises:
        click.ClickException: it does not within ``wait_s`` seconds; the message has its error.
    """
    from buildbot.db.dialects import dialect_for

    if make_url(db_url).host is None:
        return  # SQLite: a file
    engine = dialect_for(db_url, str(basedir)).create_engine()
    until = time.monotonic() + wait_s
    told = False
    try:
        while True:
            try:
                engine.connect().close()
                return
            except DBAPIError as reason:
                if time.monotonic() > until:
                    raise click.ClickException(failures.describe(reason, basedir)) from None
            if not told:
                click.echo("waiting for the database")
                told = True
            time.sleep(1)
    finally:
        engine.dispose()


def main() -> None:
    """The process that brings the database up to date; its argument is the master's directory, locked by its parent."""
    found = basedirs.find(sys.argv[1])
    try:
        config = load_config(found.path, found.settings.configfile)
        upgrade(db_url_now(config, found.path), found.path, click.echo)
    except click.ClickException as reason:
        reason.show()
        sys.exit(1)


if __name__ == "__main__":
    main()
