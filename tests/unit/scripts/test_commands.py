"""The command line, without processes of masters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import buildbot
from buildbot.scripts import create_master
from buildbot.scripts.main import COMMANDS, main


def run(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, arguments)


def test_version() -> None:
    """--version shows the version."""
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.startswith(f"Tenfold version: {buildbot.__version__}")


def test_help() -> None:
    """Help lists all commands with their purposes."""
    output = run("--help").output
    assert all(f"  {name} " in output and text in output for name, (_, text) in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_commands(name: str) -> None:
    """All commands have a help."""
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Usage: main {name} [OPTIONS]" in result.output


def test_wrong_usage() -> None:
    """A wrong command line has exit code 2."""
    assert run("strat").exit_code == 2
    assert run("start", "--nodeamon").exit_code == 2


@pytest.mark.parametrize("name", ["start", "stop", "restart", "reconfig", "upgrade-master"])
def test_no_master(tmp_path: Path, name: str) -> None:
    """The error names a directory without a master, and the command that makes one."""
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
    """Without a running master the command succeeds, and removes files of a crash."""
    (tmp_path / "master.cfg").touch()
    (tmp_path / "twistd.pid").write_text("1\n")
    result = run("stop", str(tmp_path))
    assert (result.exit_code, result.output) == (0, f"No master runs in '{tmp_path}'.\n")
    assert not (tmp_path / "twistd.pid").exists()


def test_checkconfig(tmp_path: Path) -> None:
    """checkconfig takes a directory or a file, and reports all mistakes."""
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
    """An option without effect is a warning; --quiet omits it."""
    (tmp_path / "other.cfg").write_text("c = BuildmasterConfig = {'multiMaster': True, 'changeHorizon': 3}\n")
    (tmp_path / "buildbot.tac").write_text("configfile = 'other.cfg'\n")
    result = run("checkconfig", str(tmp_path))
    assert result.output == (
        "warning: other.cfg:1: c['changeHorizon'] has no effect in this version (how many changes are kept)\n"
        "Config file is good!\n"
    )
    assert run("checkconfig", "--quiet", str(tmp_path)).output == ""


def test_create_master_refuses(tmp_path: Path) -> None:
    """A wrong database URL is refused before anything is made."""
    result = run("create-master", "--db", "nonsense", str(tmp_path / "new"))
    assert result.exit_code == 2
    assert "is not a database URL" in result.output
    assert not (tmp_path / "new").exists()


def test_other_names() -> None:
    """Commands have further names, which scripts of existing installations use."""
    assert "read its configuration again" in run("sighup", "--help").output
    assert "--progress_timeout" in run("reconfig", "--help").output


#: commands and options of Buildbot 4.3; ``=``: with a value
OPTIONS = {
    "create-master": "-c= --config= --db= -f --force -l= --log-count= -n --no-logrotate -q --quiet -r --relocatable "
    "-s= --log-size= -d --develop",
    "upgrade-master": "-q --quiet -r --replace -d --develop",
    "start": "--nodaemon -q --quiet --start_timeout=",
    "stop": "-c --clean --no-wait -q --quiet",
    "restart": "-c --clean --nodaemon -q --quiet --start_timeout=",
    "reconfig": "--progress_timeout= -q --quiet",
    "sighup": "--progress_timeout= -q --quiet",
    "checkconfig": "-q --quiet",
    "cleanupdb": "-f --force -q --quiet",
    "copy-db": "--ignore-fk-error-rows -q --quiet",
    "dataspec": "-o= --out= -g= --global=",
    "dev-proxy": "-b= --buildbot_url= -p= --port= --plugins= --auth_cookie= --unsafe_ssl",
    "tryserver": "--jobdir=",
    "user": "-m= --master= -u= --username= -p= --passwd= --op= --ids= --info= --bb_username= --bb_password=",
    "sendchange": "-m= --master= -a= --auth= -W= --who= -R= --repository= -P= --project= -b= --branch= -C= --category= "
    "--codebase= -r= --revision= --revision_file= -p= --property= -c= --comments= -F= --logfile= -w= --when= "
    "-l= --revlink= -s= --vc= -e= --encoding=",
    "try": "-c= --connect= --host= --port= --jobdir= --ssh= --buildbotbin= -m= --master= -u= --username= --passwd= "
    "--vc= --topdir= --topfile= --branch= --baserev= --diff= -p= --patchlevel= --repository= -b= --builder= "
    "--property= --properties= -w= --who= -C= --comment= --wait -q --quiet -n --dryrun --get-builder-names",
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_existing_scripts(name: str) -> None:
    """Commands accept all options of scripts of existing installations, with or without a value."""
    for option in [*OPTIONS[name].split(), "--help", "--version"]:
        known = run(name, *([option.rstrip("="), "1"] if option.endswith("=") else [option]), "--help")
        assert (known.exit_code, known.output.partition(" ")[0]) in ((0, "Usage:"), (0, "Tenfold")), option
    assert run("--verbose", name, "--help").exit_code == 0


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("oracle://h/db", "'oracle' is none of the supported databases: sqlite, postgresql, mysql"),
        ("postgresql+asyncpg://h/db", "the driver of 'postgresql+asyncpg' is not supported; write postgresql://…"),
    ],
)
def test_databases_that_are_none(url: str, complaint: str, tmp_path: Path) -> None:
    """An unusable database is refused before anything is made."""
    result = run("create-master", "--db", url, str(tmp_path / "new"))
    assert result.exit_code == 2 and complaint in " ".join(result.output.split())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///other.sqlite",
        "sqlite:///%(basedir)s/other.sqlite",
        "mysql://user:password@host/db?max_idle=300&storage_engine=InnoDB",
        "mysql+mysqldb://user@host/db?charset=utf8&use_unicode=True",
        "postgresql+psycopg2://user@host/db?sslmode=require",
    ],
)
def test_databases(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forms of ``--db``; the configuration has the URL unchanged."""
    made: list[str] = []
    monkeypatch.setattr(create_master, "upgrade", lambda url, basedir, line: made.append(url))
    directory = tmp_path / "new"
    result = run("create-master", "-q", "--db", url, str(directory))
    assert (result.exit_code, result.output) == (0, "")
    assert url in (directory / "master.cfg").read_text()
    assert made == [url.replace("%(basedir)s", str(directory))]


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
    """A job is put into a maildir completely; errors name what is missing."""
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
    """The number of old logs is above 0, or all; another value is refused before anything is made."""
    for wrong in ("0", "x", "-1"):
        result = run("create-master", "--log-count", wrong, str(tmp_path / "m"))
        assert (result.exit_code, "must be a number above 0, or None" in result.output) == (2, True)
    assert not (tmp_path / "m").exists()
