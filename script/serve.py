"""The second half of script/serve: makes a master and a worker where there are none, and runs both."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
WORKER = "local"


def main() -> int:
    """Run the demonstration; the exit code is 0 when it was stopped by Ctrl-C."""
    options = arguments()
    base: Path = options.directory.absolute()
    master, worker = base / "master", base / "worker"
    if not (master / "master.cfg").exists():
        create(master, worker, repository(options.repo), options.port)
    elif options.repo or options.port:
        print(f"{master}/master.cfg is kept; to use --repo or --port, edit it or name another directory")
    if options.source:
        bring(master, options.source)
    return run(master, worker)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="script/serve",
        description="Set up a master with SQLite and one local worker, and run both until Ctrl-C.",
    )
    parser.add_argument("directory", nargs="?", type=Path, default=ROOT / "var" / "demo", help="default: var/demo")
    parser.add_argument("--repo", metavar="PATH_OR_URL", help="git repository to build; default: this clone")
    parser.add_argument("--port", type=int, help="port of the page; default: 8010, or the next free one")
    parser.add_argument(
        "--import", dest="source", metavar="URL",
        help="first bring over the database of a Buildbot installation; only into a DIRECTORY whose master never ran",
    )  # fmt: skip
    return parser.parse_args()


def repository(given: str | None) -> str:
    """The repository to build, as the configuration names it."""
    path = Path(given).expanduser() if given else ROOT
    if given and not path.exists() and ":" in given:
        check_remote(given)
        return given
    check = subprocess.run(["git", "-C", str(path), "rev-parse", "--git-dir"], capture_output=True, text=True)
    if check.returncode:
        sys.exit(f"'{path}' is not a git repository; name one with: script/serve --repo PATH_OR_URL")
    return str(path.absolute())


def check_remote(url: str) -> None:
    """End with what git says if there is no repository at a URL: later only the master's log would."""
    quietly = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
    try:
        done = subprocess.run(
            ["git", "ls-remote", "--quiet", url, "HEAD"], capture_output=True, text=True, env=quietly, timeout=60
        )
        problem = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = "no answer within 60 s"
    if problem:
        sys.exit(f"'{url}' cannot be read: {problem}")


def create(master: Path, worker: Path, repo: str, port: int | None) -> None:
    """Make a master that builds ``repo`` and a worker that connects to it."""
    password = secrets.token_urlsafe(16)
    page = port or free_port(8010)
    workers = free_port(9989)
    run_or_exit(
        [
            str(BIN / "buildbot"),
            "create-master",
            "--quiet",
            "--repository",
            repo,
            "--worker-password",
            password,
            str(master),
        ]
    )
    config = master / "master.cfg"
    text = config.read_text(encoding="utf-8")
    text = re.sub(r"\b8010\b", str(page), text)
    text = re.sub(r"tcp:9989\b", f"tcp:{workers}", text)
    config.write_text(text, encoding="utf-8")
    run_or_exit(
        [
            str(BIN / "buildbot-worker"),
            "create-worker",
            "--quiet",
            str(worker),
            f"127.0.0.1:{workers}",
            WORKER,
            password,
        ]
    )


def bring(master: Path, source: str) -> None:
    """Bring a Buildbot database into the master's; that some rows were left out is told, and no reason to stop."""
    done = subprocess.run([str(BIN / "buildbot"), "import", "--from", source, str(master)])
    if done.returncode not in (0, 3):
        sys.exit(done.returncode)


def run_or_exit(command: Sequence[str]) -> None:
    """Run a command that has to succeed."""
    done = subprocess.run(command)
    if done.returncode:
        sys.exit(done.returncode)


def free_port(first: int) -> int:
    """``first``, or the next TCP port on loopback that nobody uses."""
    for port in range(first, first + 100):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    sys.exit(f"no free port from {first} to {first + 99}; name one with --port")


def run(master: Path, worker: Path) -> int:
    """Run both until a signal comes or one of them ends."""
    signals, alarm = os.pipe()
    for descriptor in (signals, alarm):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(alarm)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    processes = {"master": start_master(master)}
    started = time.monotonic()
    try:
        for line in said(processes["master"], signals):
            if "worker" not in processes and line.startswith("The master is up"):
                processes["worker"] = start_worker(worker)
                greet(master, worker, line, time.monotonic() - started)
            for name, process in processes.items():
                if process.poll() is not None:
                    log = {"master": master, "worker": worker}[name] / "twistd.log"
                    print(f"the {name} has ended by itself; look at {log}", file=sys.stderr)
                    return 1
        print("\nstopping…", flush=True)
        return 0
    finally:
        for name in ("worker", "master"):
            if name in processes and processes[name].poll() is None:
                processes[name].terminate()
                processes[name].communicate()


def start_master(master: Path) -> subprocess.Popen[bytes]:
    """The master, in a session of its own: Ctrl-C is for this process, which stops the two in order."""
    return subprocess.Popen(
        [str(BIN / "buildbot"), "start", "--nodaemon", str(master)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def start_worker(worker: Path) -> subprocess.Popen[bytes]:
    """The worker, which logs to its own directory."""
    return subprocess.Popen(
        [str(BIN / "buildbot-worker"), "start", "--nodaemon", str(worker)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def said(process: subprocess.Popen[bytes], signals: int) -> Iterator[str]:
    """What the process prints, line by line, "" when a child has ended; until Ctrl-C or SIGTERM.

    Args:
        process: its standard output is a pipe.
        signals: the read end of the pipe that signals are written to.
    """
    assert process.stdout is not None
    output = process.stdout.fileno()
    sources = [signals, output]
    rest = b""
    while True:
        ready, _, _ = select.select(sources, [], [])
        if signals in ready:
            numbers = os.read(signals, 64)
            if signal.SIGINT in numbers or signal.SIGTERM in numbers:
                return
            yield ""
        if output in ready:
            chunk = os.read(output, 65536)
            if not chunk:
                sources.remove(output)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")


def greet(master: Path, worker: Path, announced: str, seconds: float) -> None:
    """Say what runs and what to try."""
    config = master / "master.cfg"
    print(
        f"""
The master is up after {seconds:.1f} s. Its page: {url(announced)}

What to try next:
  - open the page and press "Force" on the builder "demo"
  - commit to the repository that it watches, and see the build come by itself
  - edit {config},
    then: {BIN / "buildbot"} reconfig {master}
  - the API: curl {url(announced)}api/v2/builders

The worker's files are in {worker}, logs in twistd.log of either.
Ctrl-C stops everything; script/serve continues where it was.
""",
        flush=True,
    )


def url(announced: str) -> str:
    """The page's address in what the master announced."""
    found = re.search(r"https?://\S+", announced)
    return found[0].rstrip(";") if found else ""


if __name__ == "__main__":
    sys.exit(main())
