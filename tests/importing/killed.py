"""Runs imports that are killed at random moments, and at last one that is not: ``killed SOURCE TARGET SEED``.

``TENFOLD_KILLS`` says how many are killed (default: 4).
"""

from __future__ import annotations

import os
import random
import signal
import sys
from functools import partial

from tests.importing.support import run_import


def _say(pipe: int, line: str) -> None:
    os.write(pipe, b".")


def main(source: str, target: str, seed: int) -> None:
    """Kill as many as wanted; each after some of its steps, whatever it is doing then."""
    chance = random.Random(seed)
    for _ in range(int(os.environ.get("TENFOLD_KILLS", "4"))):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            run_import(source, target, partial(_say, writing), most=chance.choice([7, 20, 1000]))
            os._exit(0)
        os.close(writing)
        chance.random()
        for _ in range(chance.randint(1, 40)):
            if not os.read(reading, 1):
                break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
    run_import(source, target, most=100)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
