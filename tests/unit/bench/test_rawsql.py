"""The hand-written SQL does the same work as the code that it is compared with."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.contents_tenfold import TenfoldContents
from bench.driver import connect
from bench.process import ROOT, python
from bench.rawsql import RawSQL


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[RawSQL]:
    """The operations on a small database of our schema, with 400 pending requests."""
    url = f"sqlite:///{tmp_path / 'bench.sqlite'}"
    subprocess.run(python("bench.actors.schema", url), cwd=ROOT, check=True)
    contents = TenfoldContents(url, 1_000)
    contents.found()
    first, count = contents.add_pending(400)
    contents.close()
    sql = RawSQL(connect(url), lambda: None)
    sql.prepare()
    sql.ids = list(range(first, first + count))
    yield sql
    sql.driver.connection.close()


def test_every_operation_keeps_all_references(raw: RawSQL) -> None:
    """Rows are whole: their references exist, and completed rows are complete."""
    for operation in raw.operations.values():
        operation()
    assert raw.driver.all("PRAGMA foreign_key_check") == []
    done = raw.driver.one("SELECT COUNT(*) FROM buildrequests WHERE complete = 1")[0]
    assert done == 1_000 + 1 + 100 + 1
    finished = "SELECT COUNT(*) FROM buildsets WHERE complete = 1"
    assert raw.driver.one(finished)[0] == done
    assert len(raw.driver.all("SELECT id FROM builds WHERE complete_at IS NULL")) == 0
