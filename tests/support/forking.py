"""Processes of a test that begin with all modules imported: a server imports them once, and forks the processes.

To import a master's modules takes a second, longer than most tests that need such a process.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]


class ForkServer:
    """Makes processes that run ``main()`` of a module, which must not import Twisted's reactor before that.

    It is started when the first one is asked for, and ends with the process that asked.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def fork(self) -> socket.socket:
        """A new process, as a socket: its standard input and output.

        It has ended when the socket has been read to its end.
        """
        if self._control is None:
            self._control, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-m", __name__, self._module, str(theirs.fileno())]
                self._server = subprocess.Popen(
                    command, cwd=ROOT, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
                )
        here, there = socket.socketpair()
        with there:
            socket.send_fds(self._control, [b"!"], [there.fileno()])
        return here


def _serve(module: str, control: socket.socket) -> None:
    main = import_module(module).main
    gc.freeze()  # imported modules are not collected, and stay shared between the processes
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for them
    while True:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            return
        if os.fork() == 0:
            break
        os.close(descriptors[0])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    control.close()
    os.dup2(descriptors[0], 0)
    os.dup2(descriptors[0], 1)
    os.close(descriptors[0])
    main()


if __name__ == "__main__":
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
