"""A master in the background: a process in its own session, without a terminal.

`start` runs this module in a new interpreter (``python -m buildbot.scripts.daemon``) instead of a fork, so that no
thread and no reactor of the command is carried over. The new process inherits two descriptors: the lock of the
directory, which is held without a gap, and one end of a pipe, to which it writes once whether it has started. The pipe
is closed when the process ends, so a crash before that is noticed, too.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from buildbot.scripts.basedir import Basedir, find
from buildbot.scripts.logfile import LOG_MODE, Follower
from buildbot.util.basedirlock import BasedirLock


@dataclass(frozen=True)
class Outcome:
    """The outcome of the start of a master.

    Attributes:
        up: whether it runs.
        text: the URL of its page (empty: it has none), or the reason why it does not run.
        pid: the id of its process.
    """

    up: bool
    text: str
    pid: int


def start(basedir: Basedir, lock: BasedirLock, line: Callable[[str], None], timeout_s: float | None = None) -> Outcome:
    """Start the master of ``basedir`` in the background and wait until it is up or has failed.

    Args:
        basedir: the master's directory.
        lock: its lock, held; the new process inherits it.
        line: called with each line that the master logs meanwhile.
        timeout_s: seconds to wait, after which the master may still come up; None: no limit.

    Raises:
        OSError: the log cannot be written, or the process cannot be started.
    """
    follower = Follower(basedir.log)
    receiver, sender = os.pipe()
    with open(basedir.log, "ab", opener=lambda path, flags: os.open(path, flags, LOG_MODE)) as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(basedir.path), str(lock.fileno()), str(sender)],
            cwd=basedir.path,
            stdin=subprocess.DEVNULL,
            # Python's own message on a crash goes to the log
            stdout=log,
            stderr=log,
            pass_fds=(lock.fileno(), sender),
            start_new_session=True,
        )
    os.close(sender)
    try:
        said = _wait(receiver, follower, line, timeout_s)
    except TimeoutError:
        text = f"the master has not come up within {timeout_s:g} seconds; it may still do so"
        return Outcome(False, text, process.pid)
    finally:
        os.close(receiver)
    if said:
        answer = json.loads(said)
        if not answer["up"]:
            process.wait()
        outcome = Outcome(answer["up"], answer["text"], process.pid)
    else:
        code = process.wait()
        outcome = Outcome(False, f"the process ended while starting (exit code {code})", process.pid)
    for text in follower.lines():
        line(text)
    return outcome


def _wait(receiver: int, follower: Follower, line: Callable[[str], None], timeout_s: float | None) -> bytes:
    """All that the new process writes to the pipe before it is closed; TimeoutError after ``timeout_s``."""
    said = b""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        ready, _, _ = select.select([receiver], [], [], 0.05)
        for text in follower.lines():
            line(text)
        if ready:
            chunk = os.read(receiver, 65536)
            if not chunk:
                return said
            said += chunk
        if until is not None and time.monotonic() > until:
            raise TimeoutError


def main() -> int:
    """The new process: its arguments are the master's directory and the descriptors of lock and pipe."""
    from buildbot.scripts import failures, runner

    basedir = find(sys.argv[1])
    lock, sender = int(sys.argv[2]), int(sys.argv[3])
    for descriptor in (lock, sender):
        os.set_inheritable(descriptor, False)

    def report(up: bool, text: str) -> None:
        # the command may have stopped waiting
        with suppress(BrokenPipeError):
            os.write(sender, json.dumps({"up": up, "text": text}).encode())
        os.close(sender)

    try:
        return runner.run(basedir, report)
    except OSError as reason:  # the log or the pid file cannot be written
        report(False, failures.describe(reason, basedir.path))
        return 1


if __name__ == "__main__":
    sys.exit(main())
