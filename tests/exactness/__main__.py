"""``script/exactness``: a run by hand."""

from __future__ import annotations

import argparse
import logging
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.exactness.broken import VARIANTS
from tests.exactness.farm import Farm, Faults, run_directory
from tests.exactness.settings import Settings
from tests.support.databases import BACKENDS
from tests.support.servers import own_server, wait_until_it_answers


@contextmanager
def database(wanted: str, directory: Path) -> Iterator[tuple[str, Any]]:
    """A database's URL, and its server if it may be killed."""
    if wanted == "sqlite":
        yield f"sqlite:///{directory / 'state.sqlite'}", None
    elif wanted in BACKENDS:
        with own_server(wanted) as server:
            wait_until_it_answers(server)
            yield server.url, server
    else:
        yield wanted, None


def main() -> int:
    """Run, print the figures; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="script/exactness", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long, default 1")
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql, mysql, or a URL; default sqlite")
    parser.add_argument("--masters", type=int, default=3, help="how many, default 3")
    parser.add_argument("--watchers", type=int, default=1, help="processes of eight watchers each, default 1")
    parser.add_argument("--expiry", type=int, default=5, help="seconds after which a silent master is dead, default 5")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="default: by chance")
    parser.add_argument("--broken", choices=sorted(VARIANTS), default="", help="make a mistake on purpose")
    parser.add_argument("--keep", action="store_true", help="keep what the processes wrote, and say where")
    given = parser.parse_args()
    # it logs each connection that a killed server has closed
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    print(f"exactness: {given.database}, {given.masters} masters, {given.minutes:g} min, seed {given.seed}", flush=True)
    with run_directory(given.keep) as directory, database(given.database, directory) as (url, server):
        if given.keep:
            print(f"records: {directory}", flush=True)
        settings = Settings(url, str(directory), given.seed, given.broken, given.expiry)
        farm = Farm(settings, given.masters, given.watchers, Faults(), server)
        report = farm.run(given.minutes * 60, until=("",) if given.broken else ())
    print("\n".join(report.lines()))
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
