"""What the command line says, where no process is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import buildbot
from buildbot.scripts.main import COMMANDS, main


def run(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, arguments)


def test_version() -> None:
    """--version says which version this is."""
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.startswith(f"Tenfold version: {buildbot.__version__}")


def test_help() -> None:
    """Help lists every command with what it does."""
    output = run("--help").output
    assert all(f"  {name} " in output and text in output for name, (_, text) in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_commands(name: str) -> None:
    """Every command has help of its own."""
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Usage: main {name} [OPTIONS]" in result.output


def test_wrong_usage() -> None:
    """A wrong command line has exit code 2."""
    assert run("strat").exit_code == 2
    assert run("start", "--nodeamon").exit_code == 2


@pytest.mark.parametrize("name", ["start", "stop", "restart", "reconfig", "upgrade-master"])
def test_no_master(tmp_path: Path, name: str) -> None:
    """A directory without a master is named, with the command that makes one."""
    missing = tmp_path / "missing"
    result = run(name, str(missing))
    assert (result.exit_code, result.output) == (
        1,
        f"Error: there is no directory '{missing}'; make a master there with: buildbot create-master '{missing}'\n",
    )
    result = run(name, str(tmp_path))
    assert (result.exit_code, result.output) == (
        1,
        f"Error: '{tmp_path}' is not a master's directory (it has no master.cfg); "
        f"make a master there with: buildbot create-master '{tmp_path}'\n",
    )


def test_reconfig_without_process(tmp_path: Path) -> None:
    """A master that does not run cannot be reconfigured."""
    (tmp_path / "master.cfg").touch()
    result = run("reconfig", str(tmp_path))
    assert (result.exit_code, result.output) == (
        1,
        f"Error: no master runs in '{tmp_path}'; start it with: buildbot start '{tmp_path}'\n",
    )


def test_stop_without_process(tmp_path: Path) -> None:
    """Stopping what does not run is no error, and tidies up after a crash."""
    (tmp_path / "master.cfg").touch()
    (tmp_path / "twistd.pid").write_text("1\n")
    result = run("stop", str(tmp_path))
    assert (result.exit_code, result.output) == (0, f"No master runs in '{tmp_path}'.\n")
    assert not (tmp_path / "twistd.pid").exists()


def test_checkconfig(tmp_path: Path) -> None:
    """checkconfig takes a directory or a file, and fails with every mistake."""
    file = tmp_path / "master.cfg"
    file.write_text("c = BuildmasterConfig = {'multiMaster': True}\n")
    for given in (tmp_path, file):
        result = run("checkconfig", str(given))
        assert (result.exit_code, result.output) == (0, "Config file is good!\n")
    file.write_text("c = BuildmasterConfig = {}\nc['titel'] = c['a'] = 1\n")
    result = run("checkconfig", str(tmp_path))
    assert (result.exit_code, result.output) == (
        1,
        "master.cfg:2: c['titel'] is unknown; did you mean 'title'?\n"
        "master.cfg:2: c['a'] is unknown\n"
        "Error: 2 mistakes in the configuration\n",
    )
    file.unlink()
    assert "does not exist" in run("checkconfig", str(tmp_path)).output


def test_checkconfig_warns(tmp_path: Path) -> None:
    """What has no effect is a warning; --quiet leaves it out."""
    (tmp_path / "other.cfg").write_text("c = BuildmasterConfig = {'multiMaster': True, 'changeHorizon': 3}\n")
    (tmp_path / "buildbot.tac").write_text("configfile = 'other.cfg'\n")
    result = run("checkconfig", str(tmp_path))
    assert result.output == (
        "warning: other.cfg:1: c['changeHorizon'] has no effect in this version (how many changes are kept)\n"
        "Config file is good!\n"
    )
    assert run("checkconfig", "--quiet", str(tmp_path)).output == ""


def test_create_master_refuses(tmp_path: Path) -> None:
    """A database URL that is none is refused before anything is made."""
    result = run("create-master", "--db", "nonsense", str(tmp_path / "new"))
    assert result.exit_code == 2
    assert "is not a database URL" in result.output
    assert not (tmp_path / "new").exists()


def test_other_names() -> None:
    """A command has the names that scripts of existing installations use."""
    assert "read its configuration again" in run("sighup", "--help").output
    assert "--progress_timeout" in run("reconfig", "--help").output


def test_dataspec(tmp_path: Path) -> None:
    """The description has every path with its fields, as JSON or as a script."""
    out = tmp_path / "spec.json"
    assert run("dataspec", "--out", str(out)).output == f"written to {out}\n"
    described = json.loads(out.read_text())
    (build,) = [each for each in described if each["path"] == "builds/n:buildid"]
    assert (build["type"], build["plural"]) == ("build", "builds")
    assert {"name": "number", "type": "integer", "type_spec": {"name": "integer"}} in build["type_spec"]["fields"]
    script = run("dataspec", "-o", "-", "-g", "dataspec").output
    assert script.startswith("window.dataspec = [") and json.loads(script[18:].rstrip(";\n")) == described
    assert run("dataspec", "-g", "a b").exit_code == 2


def test_tryserver(tmp_path: Path) -> None:
    """A job is put into a maildir whole; without one, or without a job, the message says what is missing."""
    result = CliRunner().invoke(main, ["tryserver", "--jobdir", str(tmp_path)], input="job")
    assert result.exit_code == 1 and "it has no new and no tmp" in result.output
    for name in ("new", "tmp", "cur"):
        (tmp_path / name).mkdir()
    result = CliRunner().invoke(main, ["tryserver", "--jobdir", str(tmp_path)], input="")
    assert (result.exit_code, result.output) == (1, "Error: there is no job on standard input\n")
    for _ in range(2):
        result = CliRunner().invoke(main, ["tryserver", "--jobdir", str(tmp_path)], input="5:1,a,\xe9")
        assert (result.exit_code, result.output) == (0, "")
    jobs = list((tmp_path / "new").iterdir())
    assert [job.read_text() for job in jobs] == ["5:1,a,\xe9"] * 2
    assert list((tmp_path / "tmp").iterdir()) == []
    assert run("tryserver").exit_code == 2


def test_rotation_of_logs(tmp_path: Path) -> None:
    """How many old logs are kept is a number above 0, or all; anything else is refused before anything is made."""
    for wrong in ("0", "x", "-1"):
        result = run("create-master", "--log-count", wrong, str(tmp_path / "m"))
        assert (result.exit_code, "must be a number above 0, or None" in result.output) == (2, True)
    assert not (tmp_path / "m").exists()
