"""The output and the exit codes of ``buildbot import`` and ``buildbot copy-db``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from buildbot.scripts.main import main
from buildbot.util.basedirlock import BasedirLock
from tests.importing.support import changed, contents, sample_copy

BUILDBOT = Path(sys.executable).with_name("buildbot")


@pytest.fixture
def basedir(tmp_path: Path) -> Path:
    """A master's directory whose database was not made yet."""
    path = tmp_path / "master"
    path.mkdir()
    (path / "master.cfg").write_text("c = BuildmasterConfig = {}\n")
    return path


def run(*arguments: str | Path) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, [str(each) for each in arguments])


def database(basedir: Path) -> str:
    """The URL of its database."""
    return f"sqlite:///{basedir / 'state.sqlite'}"


def test_import(basedir: Path, sample: Path) -> None:
    """The report lists the imported tables and those that are not imported on purpose; nothing is left out."""
    result = run("import", basedir, "--from", f"sqlite:///{sample}")
    assert result.exit_code == 0, result.output
    assert "  builds: 48\n" in result.output and "Nothing was left out.\n" in result.output
    assert "object_state 12 'session_secret'" in result.output
    assert len(contents(database(basedir))["builds"]) == 48
    assert run("import", "--quiet", basedir, "--from", f"sqlite:///{sample}").output == ""


def test_rows_that_are_left_out(basedir: Path, tmp_path: Path) -> None:
    """Exit code 3; each row is reported and listed in a file, which is removed when no row is left out."""
    source = sample_copy(tmp_path)
    with changed(source) as connection:
        connection.execute("UPDATE users_info SET uid = 99 WHERE uid = 4")
    result = run("import", basedir, "--from", f"sqlite:///{source}")
    assert result.exit_code == 3
    told = "users_info 99 'email': uid 99 does not exist, or was left out"
    assert "2 rows were left out or changed:\n" in result.output and f"  {told}\n" in result.output
    listing = basedir / "import-left-out.txt"
    assert (
        f"2 rows were left out or changed; listed in '{listing}'.\n" in result.output
        and told in listing.read_text().splitlines()
    )
    (basedir / "state.sqlite").unlink()
    assert run("import", basedir, "--from", f"sqlite:///{sample_copy(tmp_path)}").exit_code == 0
    assert not listing.exists()


def test_mistakes(basedir: Path, sample: Path, tmp_path: Path) -> None:
    """Each mistake is reported with a remedy; nothing is written."""
    url = f"sqlite:///{sample}"
    assert run("import", basedir).exit_code == 2
    for arguments, code, message in (
        (("import", tmp_path / "nowhere", "--from", url), 1, "make a master there with: buildbot create-master"),
        (("import", basedir, "--from", "state.sqlite"), 1, "'state.sqlite' is no connection string; write for example"),
        (("import", basedir, "--from", "oracle://x"), 1, "'oracle' is none of the supported databases"),
        (("import", basedir, "--from", f"sqlite:///{tmp_path}/none.sqlite"), 1, "unable to open database file"),
        (("copy-db", "sqlite:///state.sqlite", basedir), 1, "DESTINATION_URL is the database to copy"),
        (("copy-db", "sqlite:///copy.sqlite", basedir), 1, "cannot be read: unable to open database file"),
        (("copy-db", "copy.sqlite", basedir), 1, "'copy.sqlite' is no connection string"),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.output.count("Error: ")) == (code, 1), result.output
        assert message in result.output
    assert [path.name for path in basedir.iterdir() if path.suffix == ".sqlite"] == []
    (basedir / "master.cfg").write_text(f"c = BuildmasterConfig = {{'db_url': {url!r}}}\n")
    foreign = "the database has version 067 of a schema that is not of this program"
    result = run("import", basedir, "--from", url)
    assert result.exit_code == 1 and foreign in result.output
    # It runs a reactor, of which a process has one only, so it gets its own.
    upgrade = subprocess.run([BUILDBOT, "upgrade-master", basedir], capture_output=True, text=True)
    assert upgrade.returncode == 1 and foreign in upgrade.stderr


def test_a_master_runs(basedir: Path, sample: Path) -> None:
    """While a master runs in the directory, both commands are refused."""
    with BasedirLock(basedir):
        for arguments in (("import", basedir, "--from", f"sqlite:///{sample}"), ("copy-db", "sqlite:///c", basedir)):
            result = run(*arguments)
            assert result.exit_code == 1 and "a master already runs in" in result.output


def test_copy_db(basedir: Path, sample: Path) -> None:
    """The copy is at the URL, relative to the directory; the report says that all rows are equal."""
    run("import", basedir, "--from", f"sqlite:///{sample}")
    result = run("copy-db", "sqlite:///copy.sqlite", basedir)
    assert result.exit_code == 0, result.output
    assert "rows are equal, and so is the clock (1)." in result.output
    assert contents(f"sqlite:///{basedir / 'copy.sqlite'}")["builds"] == contents(database(basedir))["builds"]
    assert run("copy-db", "--quiet", "sqlite:///copy.sqlite", basedir).output == ""
