"""``script/faults``: the table, by hand."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.rows import ALL, BY_NAME, ROWS
from tests.faults.settings import Settings
from tests.faults.table import judge_rates, run


def main() -> int:
    """Make the rows, print them; 1 if something was found."""
    usual = Settings()
    parser = argparse.ArgumentParser(prog="script/faults", description=__doc__)
    parser.add_argument("--database", choices=ALL, default="sqlite", help="default sqlite")
    parser.add_argument("--rows", nargs="+", choices=list(BY_NAME), metavar="ROW", help=", ".join(BY_NAME))
    parser.add_argument("--expiry", type=int, default=usual.expiry_s, help="seconds until a silent master is dead")
    parser.add_argument("--stretch", type=float, default=usual.stretch_s, help="seconds of one measured stretch")
    parser.add_argument("--later", type=float, default=usual.later_s, help="seconds from a fault to the last stretch")
    parser.add_argument("--scale", type=float, default=usual.scale, help="of how long faults last, default 1")
    parser.add_argument("--workers", type=int, default=usual.workers, help="of each master, default 10")
    parser.add_argument("--no-rates", action="store_true", help="print rates, but do not judge them")
    parser.add_argument("--keep", action="store_true", help="keep the masters' directories, and say where")
    given = parser.parse_args()
    # it tells of each connection that a killed server has cut
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    settings = Settings(given.expiry, given.stretch, given.later, given.scale, given.workers, rates=not given.no_rates)
    directory = Path(tempfile.mkdtemp(prefix="faults-"))
    stretch, later = f"{given.stretch:g}", f"{given.later:g} to {given.later + given.stretch:g}"
    print(f"{given.database}, expiry {given.expiry} s. Builds that succeed in {stretch} s:\n")
    print(f"| fault | twice before / during / first {stretch} s after / {later} s after | longest pause | in all |")
    print("| --- | --- | --- | --- |", flush=True)
    rows = [BY_NAME[name] for name in given.rows] if given.rows else list(ROWS)
    results = []
    for result in run(given.database, rows, settings, directory):
        results.append(result)
        print(result.line(), *(f"FOUND {fault}" for fault in result.faults), sep="\n", flush=True)
    if settings.rates:
        before = {id(result): len(result.faults) for result in results}
        judge_rates(results)
        for result in results:
            for fault in result.faults[before[id(result)] :]:
                print(f"FOUND {result.row.name}: {fault}")
    bad = [result.row.name for result in results if result.faults]
    print(f"\nfound something in: {', '.join(bad)}" if bad else "\nnothing lost, doubled, stuck or left open")
    if given.keep or bad:
        print(f"directories: {directory}")
    else:
        shutil.rmtree(directory)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
