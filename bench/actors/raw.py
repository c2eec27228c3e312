"""The actor of the bare driver: ``python -m bench.actors.raw DATABASE_URL FINISHED``."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from bench.actors.lines import Lines
from bench.driver import connect
from bench.items import BY_NAME
from bench.rawsql import RawSQL


class Committer:
    """Commits at the end of a call, or of every so many calls."""

    def __init__(self) -> None:
        self.sql: RawSQL
        self.every = 1
        self._calls = 0

    def call_done(self) -> None:
        """A call of the API has ended."""
        self._calls += 1
        if self._calls >= self.every:
            self._calls = 0
            self.sql.driver.commit()
            self.sql.driver.begin()

    def run(self, item: str, group: int, seconds: float, limit: int | None) -> dict[str, Any]:
        """As many calls as fit into some seconds, ``group`` of them with each commit; 0 for those that only read."""
        driver, operation = self.sql.driver, self.sql.operations[item]
        driver.autocommit(group == 0)
        # one call of an item with ids is two of the API
        self.every = group * (2 if BY_NAME[item].ids and group > 1 and item != "lifecycle" else 1)
        self._calls = 0
        cpu, begin, calls = time.process_time(), time.perf_counter(), 0
        if group:
            driver.begin()
        while time.perf_counter() - begin < seconds and (limit is None or calls < limit):
            operation()
            calls += 1
        if group:
            driver.commit()
        return {
            "calls": calls,
            "seconds": time.perf_counter() - begin,
            "cpu_seconds": time.process_time() - cpu,
        }


def _obey(committer: Committer, do: str, **arguments: Any) -> dict[str, Any]:
    if do == "run":
        return committer.run(**arguments)
    ids = committer.sql.ids
    if do == "give":
        first, count = arguments["ids"]
        ids.extend(range(first, first + count))
    elif do == "forget":
        ids.clear()
    return {}


def main(url: str) -> None:
    """Answer commands until the other side closes."""
    lines, committer = Lines(), Committer()
    # the calls of the preparation are one transaction
    committer.every = 1_000_000
    try:
        sql = committer.sql = RawSQL(connect(url), committer.call_done)
        sql.prepare()
    except Exception as error:
        lines.fail(error)
        return
    lines.reply({"pid": os.getpid()})
    for command in lines.commands():
        try:
            lines.reply(_obey(committer, **command))
        except Exception as error:
            lines.fail(error)


if __name__ == "__main__":
    main(sys.argv[1])
