"""Sources, imports of them, and the contents of databases."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, select
from sqlalchemy.engine import Engine

from buildbot.db.dialects import dialect_for
from buildbot.importing.copying import Copy, Original
from buildbot.importing.report import Progress, Report
from buildbot.importing.run import Import
from buildbot.importing.source import Source
from buildbot.importing.target import Target
from buildbot.resources import metadata
from tests.support.databases import database_url

SAMPLE = Path(__file__).with_name("sample")
#: the end of what was running when it was imported
NOW = 1_800_000_000


def sample_copy(directory: Path) -> Path:
    """A copy of the sample that a test may change."""
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(SAMPLE / "state.sqlite", directory / "source.sqlite"))


def turn_back(path: Path, moment: int) -> None:
    """Set the sample back to a moment: later rows are removed, later ends are undone."""
    later = "(SELECT id FROM {} WHERE {} > :t)"
    with changed(path) as connection:
        for statement in (
            f"DELETE FROM builds WHERE id IN {later.format('builds', 'started_at')}",
            "UPDATE builds SET complete_at = NULL, results = NULL, state_string = 'building' WHERE complete_at > :t",
            "DELETE FROM build_properties WHERE buildid NOT IN (SELECT id FROM builds)",
            "DELETE FROM build_properties WHERE name = 'got_revision' AND buildid IN"
            " (SELECT id FROM builds WHERE complete_at IS NULL)",
            "DELETE FROM build_data WHERE buildid NOT IN (SELECT id FROM builds WHERE complete_at IS NOT NULL)",
            "DELETE FROM steps WHERE started_at > :t OR buildid NOT IN (SELECT id FROM builds)",
            "UPDATE steps SET complete_at = NULL, results = NULL, state_string = 'running' WHERE complete_at > :t",
            "DELETE FROM logs WHERE stepid NOT IN (SELECT id FROM steps)",
            "UPDATE logs SET complete = 0, num_lines = 0 WHERE stepid IN (SELECT id FROM steps WHERE results IS NULL)",
            "DELETE FROM logchunks WHERE logid NOT IN (SELECT id FROM logs WHERE complete = 1)",
            "DELETE FROM buildrequest_claims WHERE claimed_at > :t",
            "DELETE FROM buildrequests WHERE submitted_at > :t",
            "UPDATE buildrequests SET complete = 0, results = -1, complete_at = NULL WHERE complete_at > :t",
            f"DELETE FROM buildset_properties WHERE buildsetid IN {later.format('buildsets', 'submitted_at')}",
            f"DELETE FROM buildset_sourcestamps WHERE buildsetid IN {later.format('buildsets', 'submitted_at')}",
            "DELETE FROM buildsets WHERE submitted_at > :t",
            "UPDATE buildsets SET complete = 0, results = -1, complete_at = NULL WHERE complete_at > :t",
            "DELETE FROM changes WHERE sourcestampid IN (SELECT id FROM sourcestamps WHERE created_at > :t)",
            "DELETE FROM sourcestamps WHERE created_at > :t",
            *(
                f"DELETE FROM {table} WHERE changeid NOT IN (SELECT changeid FROM changes)"
                for table in ("change_files", "change_users", "change_properties", "scheduler_changes")
            ),
            "DELETE FROM codebase_branches",
            "DELETE FROM codebase_commits",
            'UPDATE object_state SET value_json = \'{"main": "571e3f8f47beafb97dcb882c4f68b4e455098ff1"}\''
            " WHERE name = 'lastRev'",
            "UPDATE workers SET paused = 0, pause_reason = NULL",
        ):
            connection.execute(statement, {"t": moment} if ":t" in statement else {})


@contextmanager
def changed(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a SQLite database whose changes are committed; nothing is checked, as in a damaged one."""
    with closing(sqlite3.connect(path)) as connection:
        yield connection
        connection.commit()


def run_import(
    source_url: str, target_url: str, say: Callable[[str], Any] = lambda line: None, most: int = 5000
) -> Report:
    """Run an import, with a progress line for each step."""
    source, target = Source(source_url), Target(target_url)
    with source.opened(), target.opened():
        return Import(source, target, Progress(say, every_s=0), now=lambda: NOW, most=most).run()


def run_copy(
    source_url: str, target_url: str, say: Callable[[str], Any] = lambda line: None, most: int = 2000
) -> Report:
    """Run a copy, with a progress line for each page."""
    source, target = Original(source_url), Target(target_url)
    with source.opened(), target.opened(remembers=False):
        return Copy(source, target, Progress(say, every_s=0), most=most).run()


@dataclass(frozen=True)
class Imported:
    """A Tenfold database that was filled from another one."""

    backend: str
    url: str
    report: Report

    @property
    def engine(self) -> Engine:
        """A new one."""
        return dialect_for(self.url).create_engine()


@contextmanager
def imported(backend: str, source: Path, directory: Path) -> Iterator[Imported]:
    """The import of a SQLite database into a new one, which is dropped at the end of the block."""
    with database_url(backend, "import", directory) as url:
        yield Imported(backend, url, run_import(f"sqlite:///{source}", url))


def contents(url: str, without: tuple[str, ...] = (), everything: bool = False) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a Tenfold database, by table; without some tables, and without the notes of imports."""
    engine = dialect_for(url).create_engine()
    found = {}
    with engine.connect() as conn:
        objects = metadata.tables["objects"]
        ours = conn.scalar(select(objects.c.id).where(objects.c.class_name == "buildbot.importing"))
        for table in metadata.sorted_tables:
            if table.name in without:
                continue
            statement = select(table)
            if table.name == "object_state" and not everything:
                statement = statement.where(table.c.objectid != (ours or 0))
            rows = [tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
                    for row in conn.execute(statement)]  # fmt: skip
            found[table.name] = sorted(rows, key=repr)
    engine.dispose()
    return found


def named_objects(found: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """The same with objects by name: their ids depend on the order of the runs."""
    names = {row[0]: row[1:3] for row in found["objects"]}
    tests = {table: {row[0]: row[1] for row in found[table]} for table in ("test_names", "test_code_paths")}
    result = {table: rows for table, rows in found.items() if table not in ("objects", *tests)}
    for table in ("object_state", "scheduler_changes"):
        result[table] = sorted(((*names[row[0]], *row[1:]) for row in found[table]), key=repr)
    result["test_results"] = [
        (*row[:3], tests["test_names"].get(row[3]), tests["test_code_paths"].get(row[4]), *row[5:])
        for row in found["test_results"]
    ]
    return result


def source_rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a statement on a source."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


def tables_of_readme() -> dict[str, list[list[str]]]:
    """The tables of the sample's README, by the heading above them: rows of cells."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in (SAMPLE / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("| ") and not re.fullmatch(r"[| -]+", line):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("| ").split(" | ")])
    return {heading: rows[1:] for heading, rows in found.items()}


def scalar(url: str, statement: Any) -> Any:
    """One value of a Tenfold database."""
    engine = create_engine(dialect_for(url).url)
    with engine.connect() as conn:
        found = conn.scalar(statement)
    engine.dispose()
    return found
