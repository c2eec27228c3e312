"""Many `buildbot-worker` agents in one process; only the command that they run is replaced, by one that prints at once.

    python agents.py --port PORT --directory DIRECTORY --count N [--first N]

for an interpreter that has buildbot-worker. Connection, protocol, splitting of lines and batching of updates are the
agent's own. Agents are called ``w0``, ``w1``, … with the password ``pw``. The command that they run is
``["farm", LINES, WIDTH, PAUSE]``: it prints so many lines in chunks of 50, waits between half of ``PAUSE`` seconds and
one and a half after each, and ends with 0.

It prints ``ready`` once all agents are started, and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from buildbot_worker.commands import base, registry
from buildbot_worker.pb import Worker
from twisted.internet import reactor as _reactor
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

reactor: Any = _reactor
CHUNK = 50


class Print(base.Command):  # type: ignore[misc]
    """Prints what its arguments say."""

    requiredArgs = ["command", "workdir"]

    def start(self) -> Deferred[None]:
        """Begin; the agent says that it has ended when the Deferred fires."""
        return Deferred.fromCoroutine(self._print())

    async def _print(self) -> None:
        lines, width, pause = int(self.args["command"][1]), int(self.args["command"][2]), float(self.args["command"][3])
        send = self.protocol_command.send_update
        send([("header", "farm\n")])
        for first in range(0, lines, CHUNK):
            numbers = range(first, min(first + CHUNK, lines))
            send([("stdout", "".join(f"{number:08d} ".ljust(width, "x") + "\n" for number in numbers))])
            # agents that print for equally long would end their builds in waves, which no short stretch can count
            await deferLater(reactor, pause * random.uniform(0.5, 1.5), lambda: None)
            if self.interrupted:
                break
        send([("rc", 1 if self.interrupted else 0)])

    def interrupt(self) -> None:
        """Print no more."""
        self.interrupted = True


class _Parent(Protocol):
    def connectionLost(self, reason: Any = None) -> None:
        if reactor.running:
            reactor.stop()


def main() -> None:
    """Run the agents until whoever started them has gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    registry.commandRegistry["shell"] = Print
    for number in range(options.first, options.first + options.count):
        directory = options.directory / f"w{number}"
        directory.mkdir(parents=True, exist_ok=True)
        agent = Worker("127.0.0.1", options.port, f"w{number}", "pw", str(directory), 600, maxdelay=5)
        agent.startService()
    stdio.StandardIO(_Parent())
    reactor.callWhenRunning(print, "ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
