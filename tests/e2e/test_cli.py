"""The command line with real processes: each test has a master's directory and a port of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.masters import make_master
from tests.support.ports import free_port

pytestmark = pytest.mark.e2e

BUILDBOT = str(Path(sys.executable).with_name("buildbot"))

CONFIG = """\
c = BuildmasterConfig = {{}}
c["title"] = "one"
c["multiMaster"] = True
c["buildbotURL"] = "http://127.0.0.1:{port}/"
c["www"] = {{"port": {port}}}
"""


@dataclass
class Directory:
    """A master's directory, and commands for it."""

    path: Path
    port: int

    def run(self, command: str, *arguments: str, code: int = 0) -> str:
        """Run a command on the directory; gives its output on both streams. Its exit code is checked."""
        done = subprocess.run(
            [BUILDBOT, command, *arguments, str(self.path)], capture_output=True, text=True, timeout=60
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        return said

    def configure(self, more: str = "") -> None:
        """Write the configuration, and ``more`` below it."""
        (self.path / "master.cfg").write_text(CONFIG.format(port=self.port) + more)

    @property
    def log(self) -> Path:
        """The master's log."""
        return self.path / "twistd.log"

    @property
    def pid(self) -> int:
        """The number of the running process."""
        return int((self.path / "twistd.pid").read_text())

    @contextmanager
    def log_lines(self) -> Iterator[Iterator[str]]:
        """The lines that are logged from now on, as they come, however late the process that reads them starts."""
        begin = f"--bytes=+{self.log.stat().st_size + 1}"
        with subprocess.Popen(
            ["tail", begin, "--follow=name", str(self.log)], stdout=subprocess.PIPE, text=True
        ) as tail:
            assert tail.stdout is not None
            try:
                yield iter(tail.stdout)
            finally:
                tail.kill()


def wait_for(lines: Iterator[str], text: str) -> list[str]:
    """The lines up to the first that contains ``text``; the test's time limit ends a wait in vain."""
    seen = []
    for line in lines:
        seen.append(line)
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came:\n{''.join(seen)}")


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Directory]:
    """A new master that serves a page and builds nothing; it is stopped when the test ends."""
    directory = Directory(tmp_path / "a master", free_port())
    make_master(directory.path)
    directory.configure()
    yield directory
    directory.run("stop", "--quiet")


def test_life(master: Directory) -> None:
    """start returns when a process without a terminal serves the page; stop returns when it is gone."""
    said = master.run("start")
    assert f"The master is up at http://127.0.0.1:{master.port}/" in said
    with urlopen(f"http://127.0.0.1:{master.port}/") as reply:
        assert reply.status == 200
    assert os.getsid(master.pid) == master.pid != os.getsid(0)
    assert "BuildMaster is running" in master.log.read_text()
    assert master.run("stop") == "The master has stopped.\n"
    assert not (master.path / "twistd.pid").exists()
    assert master.run("stop") == f"No master runs in '{master.path}'.\n"


def test_private(master: Directory) -> None:
    """Only its own account can read the directory of a new master, its database, its configuration and its log."""
    master.run("start")
    assert master.path.stat().st_mode & 0o777 == 0o700
    modes = {each.name: each.stat().st_mode & 0o777 for each in master.path.iterdir() if each.is_file()}
    assert modes["state.sqlite"] == modes["state.sqlite-wal"] == modes["state.sqlite-shm"] == 0o600
    assert modes["master.cfg"] == 0o600
    assert modes["twistd.log"] == 0o640
    master.run("stop")


def test_second_start_is_refused(master: Directory) -> None:
    """There is one master in a directory, in the background or not, and no upgrade while it runs."""
    master.run("start")
    refusal = f"Error: a master already runs in '{master.path}'; stop it with: buildbot stop '{master.path}'\n"
    assert master.run("start", code=1) == refusal
    assert master.run("start", "--nodaemon", code=1) == refusal
    assert master.run("upgrade-master", code=1) == refusal


def test_killed_master_leaves_no_lock(master: Directory) -> None:
    """After a master was killed the next one starts, whatever files are left."""
    master.run("start")
    pid = master.pid
    with subprocess.Popen(["tail", f"--pid={pid}", "--follow", "/dev/null"]) as gone:
        os.kill(pid, signal.SIGKILL)
        gone.wait()
    assert (master.path / "twistd.pid").exists()
    assert "no master runs" in master.run("reconfig", code=1)
    master.run("start")
    assert master.pid != pid


def test_restart(master: Directory) -> None:
    """restart starts a master that does not run, and replaces one that does."""
    assert "has stopped" not in master.run("restart")
    pid = master.pid
    said = master.run("restart")
    assert "The master has stopped." in said
    assert "The master is up" in said
    assert master.pid != pid


def test_reconfig(master: Directory) -> None:
    """reconfig prints the outcome; with a mistake the old configuration stays."""
    master.run("start")
    pid = master.pid
    master.configure('c["title"] = "two"\n')
    assert "The master has the new configuration." in master.run("reconfig")
    master.configure('c["titel"] = "three"\nc["workers"] = 3\n')
    said = master.run("reconfig", code=1)
    assert "master.cfg:6: c['titel'] is unknown; did you mean 'title'?" in said
    assert "master.cfg:7: c['workers'] must be a list, not 3 (int)" in said
    assert "Error: the master refused the new configuration and keeps the old one" in said
    assert master.pid == pid
    with urlopen(f"http://127.0.0.1:{master.port}/") as reply:
        assert reply.status == 200


@pytest.mark.parametrize(
    "setting", ['c["www"] = {{"port": {}}}', 'c["protocols"] = {{"pb": {{"port": "tcp:{}:interface=127.0.0.1"}}}}']
)
def test_reconfig_with_a_port_in_use(master: Directory, setting: str) -> None:
    """The old configuration stays, with its ports; the new one is taken when the port is free."""

    def answers(port: int, text: bytes) -> bool:
        with urlopen(f"http://127.0.0.1:{port}/config") as reply:
            return text in reply.read()

    workers = free_port()
    own = f'c["protocols"] = {{"pb": {{"port": "tcp:{workers}:interface=127.0.0.1"}}}}\n'
    master.configure(own)
    master.run("start")
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = other.getsockname()[1]
        master.configure(f'{own}c["title"] = "two"\n{setting.format(busy)}\n')
        for _ in range(2):
            assert "Error: the master refused the new configuration and keeps the old one" in master.run(
                "reconfig", code=1
            )
            assert answers(master.port, b'"one"')
            socket.create_connection(("127.0.0.1", workers)).close()
    assert "The master has the new configuration." in master.run("reconfig")
    assert answers(busy if "www" in setting else master.port, b'"two"')
    socket.create_connection(("127.0.0.1", workers if "www" in setting else busy)).close()


def test_clean_stop(master: Directory) -> None:
    """A clean stop waits for builds and says so in the log; a start that takes too long is not waited for."""
    master.log.touch()
    with master.log_lines() as lines:
        assert "has not come up within 0.001 seconds" in master.run("start", "--start_timeout", "0.001", code=1)
        wait_for(lines, "BuildMaster is running")
    assert "The master has stopped." in master.run("restart", "--clean")
    assert master.run("stop", "--clean") == "The master has stopped.\n"
    assert master.log.read_text().count("Initiating clean shutdown") == 2


def test_sighup(master: Directory) -> None:
    """SIGHUP is a reconfig whose answer is in the log."""
    master.run("start")
    with master.log_lines() as lines:
        master.configure('c["title"] = "two"\n')
        os.kill(master.pid, signal.SIGHUP)
        wait_for(lines, "configuration update complete")
        master.configure("c = (\n")
        os.kill(master.pid, signal.SIGHUP)
        seen = wait_for(lines, "configuration update aborted without making any changes")
    assert any("master.cfg:6: syntax error: '(' was never closed" in line for line in seen)


def test_foreground(master: Directory) -> None:
    """With --nodaemon the log goes to the terminal and Ctrl-C ends the master cleanly."""
    with subprocess.Popen(
        [BUILDBOT, "start", "--nodaemon", str(master.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        wait_for(process.stdout, "The master is up")
        assert "already runs" in master.run("start", code=1)
        process.send_signal(signal.SIGINT)
        assert "stopped" in process.stdout.read()
        assert process.wait() == 0
    assert not (master.path / "twistd.pid").exists()


def test_mistake(master: Directory) -> None:
    """A master with a mistake in its configuration does not start, and prints all mistakes."""
    master.configure('c["titel"] = ""\nc["workers"] = 3\n')
    said = master.run("start", code=1)
    assert "Error: the configuration has mistakes:\n  master.cfg:6: c['titel'] is unknown" in said
    assert "master.cfg:7: c['workers'] must be a list" in said


def test_port_in_use(master: Directory) -> None:
    """A port that is in use is one clear message."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", master.port))
        other.listen()
        said = master.run("start", "--quiet", code=1)
    assert said.startswith(
        f"Error: port {master.port} of 127.0.0.1 is in use by another process; "
        "stop that, or set another port in master.cfg\n"
    )


def test_empty_database(master: Directory) -> None:
    """A database that is not up to date is refused, with the command that helps. Its URL may hold secrets."""
    (master.path / "secrets").mkdir(mode=0o700)
    secret = master.path / "secrets" / "database"
    secret.write_text("other")
    secret.chmod(0o600)
    master.configure(
        "from buildbot.plugins import secrets, util\n"
        'c["db_url"] = util.Interpolate("sqlite:///%(secret:database)s.sqlite")\n'
        'c["secretsProviders"] = [secrets.SecretInAFile(basedir + "/secrets")]\n'
    )
    said = master.run("start", "--quiet", code=1)
    assert f"buildbot upgrade-master '{master.path}'" in said
    assert "Running upgrade" in master.run("upgrade-master")
    assert (master.path / "other.sqlite").exists()
    master.run("start")
    assert "The master has the new configuration." in master.run("reconfig")
    secret.write_text("another")
    assert "db_url: cannot be changed while the master runs; restart it" in master.run("reconfig", code=1)


def test_database_out_of_reach(master: Directory) -> None:
    """A database file that cannot be opened is one clear message."""
    master.configure('c["db_url"] = "sqlite:///missing/state.sqlite"\n')
    for command in ("start", "upgrade-master"):
        said = master.run(command, "--quiet", code=1)
        assert "Error: the database cannot be written (unable to open database file)" in said
        assert "Traceback" not in said


def test_log_out_of_reach(master: Directory) -> None:
    """A log that cannot be written is one clear message."""
    master.log.mkdir()
    said = master.run("start", code=1)
    assert said == f"Error: '{master.log}' cannot be used: Is a directory\n"


def test_rotation(master: Directory) -> None:
    """twistd.log is rotated as buildbot.tac says, also of a file that an older version wrote."""
    (master.path / "buildbot.tac").write_text("raise SystemExit\nrotateLength = '200'\nmaxRotatedFiles = 2\n")
    master.run("start")
    assert "The master has the new configuration." in master.run("reconfig")
    master.run("stop")
    assert sorted(path.name for path in master.path.glob("twistd.log*")) == [
        "twistd.log",
        "twistd.log.1",
        "twistd.log.2",
    ]


def test_sample(tmp_path: Path) -> None:
    """The sample that create-master writes has no mistakes, and is kept by a second run."""
    directory = Directory(tmp_path, 0)
    said = directory.run("create-master", "--repository", "/some/'where'")
    assert f"writing {tmp_path}/master.cfg" in said
    assert "Running upgrade" in said
    assert directory.run("checkconfig") == "Config file is good!\n"
    (tmp_path / "master.cfg").write_text("mine")
    assert f"keeping {tmp_path}/master.cfg" in directory.run("create-master")
    assert (tmp_path / "master.cfg").read_text() == "mine"


def test_manhole(master: Directory) -> None:
    """A prompt is there as long as the configuration wants it."""
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        pytest.skip("OpenSSH's client is not installed")
    subprocess.run(
        [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(master.path / "ssh_host_ed25519_key")], check=True
    )
    port = free_port()
    manhole = f"c['manhole'] = util.AuthorizedKeysManhole({port}, 'ssh_host_ed25519_key.pub', '.')"
    master.configure(f"from buildbot.plugins import util\n{manhole}\n")
    master.run("start")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert connection.recv(7) == b"SSH-2.0"
        master.configure()
        master.run("reconfig")
        connection.settimeout(30)
        with suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
