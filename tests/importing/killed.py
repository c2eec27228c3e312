"""Runs imports or copies that are killed at random moments, and a last one that is not.

``killed import|copy SOURCE TARGET SEED``

``TENFOLD_KILLS`` says how many are killed (default: 3).
"""

from __future__ import annotations

import os
import random
import signal
import sys
from functools import partial

from tests.importing.support import run_copy, run_import


def _say(pipe: int, line: str) -> None:
    os.write(pipe, b".")


def main(what: str, source: str, target: str, seed: int) -> None:
    """Kill as many as wanted; each after some of its steps, whatever it is doing then."""
    run = {"import": run_import, "copy": run_copy}[what]
    chance = random.Random(seed)
    for _ in range(int(os.environ.get("TENFOLD_KILLS", "3"))):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            run(source, target, partial(_say, writing), most=chance.choice([20, 100, 1000]))
            os._exit(0)
        os.close(writing)
        for _ in range(chance.randint(1, 60)):
            if not os.read(reading, 1):
                break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
    run(source, target, most=1000)


if __name__ == "__main__":
    _, given, one, other, number = sys.argv
    main(given, one, other, int(number))
