"""How fast a Buildbot database is brought over: one with many builds, made in bulk, into each of our databases."""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import time
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.databases import new_database
from bench.process import ROOT

#: has the schema, as Buildbot 4.3 makes it
SAMPLE = ROOT / "tests" / "importing" / "sample" / "state.sqlite"
#: rows a second that an import brings at the least
GOAL = 20_000
#: rows that go with one build
STEPS, PROPERTIES, LINES = 3, 6, 40
_TEXT = "\n".join(f"o line {number} of the log of a build" for number in range(LINES)).encode()


@dataclass(frozen=True)
class Measured:
    """One import, and a second run after ``again`` more builds."""

    builds: int
    rows: int
    seconds: float
    again: int
    again_seconds: float
    #: of the processor, in the first run, without the database server's
    cpu_seconds: float
    #: resident, of the process, at its most
    megabytes: float


def make(path: Path, builds: int) -> None:
    """A database with so many finished builds; what is there already is kept."""
    if not path.exists():
        with closing(sqlite3.connect(SAMPLE)) as sample, closing(sqlite3.connect(path)) as made:
            for kind in ("table", "index"):
                texts = sample.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type = ?", (kind,))
                for (statement,) in texts:
                    made.execute(statement)
            made.execute("INSERT INTO alembic_version VALUES ('067')")
            made.execute("INSERT INTO masters VALUES (1, 'ci:/srv', 'x', 0, 1700000000)")
            made.execute("INSERT INTO workers VALUES (1, 'w', '{}', 0, NULL, 0)")
            made.executemany(
                "INSERT INTO builders VALUES (?, ?, NULL, NULL, NULL, NULL, ?)",
                [(number, f"builder {number}", f"{number}") for number in range(1, 21)],
            )
            made.execute("INSERT INTO sourcestamps VALUES (1, 'x', 'main', 'abc', NULL, '', '', '', 1700000000)")
            made.commit()
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA synchronous=OFF")
        first = (made.execute("SELECT max(id) FROM builds").fetchone()[0] or 0) + 1
        for start in range(first, builds + 1, 10_000):
            _add(made, range(start, min(start + 10_000, builds + 1)))
            made.commit()


def _add(made: sqlite3.Connection, ids: range) -> None:
    at = 1_700_000_000
    packed = zlib.compress(_TEXT)

    def many(table: str, rows: Any) -> None:
        rows = list(rows)
        made.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)

    many("buildsets", ((n, None, "commit", at + n, 1, at + n + 9, 0, None, None, None) for n in ids))
    many("buildset_sourcestamps", ((n, n, 1) for n in ids))
    many("buildset_properties", ((n, "scheduler", '["all", "Scheduler"]') for n in ids))
    many("buildrequests", ((n, n, n % 20 + 1, 0, 1, 0, at + n, at + n + 9, 0) for n in ids))
    many("buildrequest_claims", ((n, 1, at + n) for n in ids))
    many("builds", ((n, n, n % 20 + 1, n, 1, 1, at + n, at + n + 9, 0, "build successful", 0) for n in ids))
    many(
        "build_properties",
        ((n, f"property {p}", json.dumps(f"value {n}"), "Build") for n in ids for p in range(PROPERTIES)),
    )
    many(
        "steps",
        (
            (n * STEPS + s, s, f"step {s}", n, at + n, at + n, at + n + 3, "finished", 0, "[]", 0)
            for n in ids for s in range(STEPS)
        ),
    )  # fmt: skip
    many("logs", ((n, "stdio", "stdio", n * STEPS + 1, 1, LINES, "s") for n in ids))
    many("logchunks", ((n, 0, LINES - 1, packed, 1) for n in ids))


def measure(backend: str, directory: Path, builds: int) -> Measured:
    """Import into a new database of a kind, then once more after a thousandth more builds. Raises NoServerError."""
    source = directory / f"upstream-{builds}.sqlite"
    source.unlink(missing_ok=True)
    make(source, builds)
    again = max(builds // 1000, 1)
    with new_database(backend, "import", directory) as url:
        first = _run(source, url)
        make(source, builds + again)
        second = _run(source, url)
    source.unlink()
    megabytes = max(first["megabytes"], second["megabytes"])
    return Measured(builds, first["rows"], first["seconds"], again, second["seconds"], first["cpu_seconds"], megabytes)


def _run(source: Path, url: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.imports", f"sqlite:///{source}", url]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(found: Measured) -> str:
    """The figures in words."""
    return (
        f"{found.builds:,} builds, {found.rows:,} rows: {found.seconds:,.0f} s,"
        f" {found.rows / found.seconds:,.0f} rows/s ({found.rows / found.cpu_seconds:,.0f} a second of CPU),"
        f" {found.megabytes:,.0f} MB;"
        f" {found.again:,} builds more: {found.again_seconds:.1f} s"
    )


def main(source_url: str, target_url: str) -> None:
    """One import, in this process; the last line of the output is JSON."""
    from buildbot.importing.report import Progress
    from buildbot.importing.run import Import
    from buildbot.importing.source import Source
    from buildbot.importing.target import Target

    source, target = Source(source_url), Target(target_url)
    begun = time.monotonic()
    with source.opened(), target.opened():
        report = Import(source, target, Progress(lambda line: print(line, file=sys.stderr), every_s=30)).run()
    assert not report.left_out, report.left_out[:5]
    used = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "rows": report.total,
        "seconds": time.monotonic() - begun,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "megabytes": used.ru_maxrss / 1024,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
