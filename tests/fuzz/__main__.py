"""``script/fuzz``: what no decent client sends, to a master of its own; exit status 1 if it minds."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import attack
from tests.fuzz.farm import running_master
from tests.fuzz.hostile import new_seed


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="script/fuzz")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "mysql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, which is repeated")
    given = parser.parse_args()
    seed = new_seed() if given.seed is None else given.seed
    print(f"{given.requests} requests, {given.database}, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory, running_master(Path(directory), given.database) as master:
        report = attack(master, given.requests, seed)
    print("\n".join(report.lines()))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
