"""Damaged sources: each row that cannot be imported is reported by table and id, and all others are imported."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import pytest

from buildbot.importing import chunks
from buildbot.importing.report import ImportRefusedError
from tests.importing.support import changed, contents, imported, run_import, sample_copy, source_rows
from tests.support.databases import selected_backends

#: what is done to the source, and what is told of it; everything happens at once
DAMAGE: list[tuple[str, list[str]]] = [
    # references to nothing
    ("INSERT INTO steps VALUES (1000, 0, 'lost', 777, 1, 1, 1, 'x', 0, '[]', 0)",
     ["steps 1000: buildid 777 does not exist, or was left out"]),
    ("UPDATE builds SET builderid = 99 WHERE id = 45",
     ["builds 45: builderid 99 does not exist, or was left out"]),
    ("UPDATE buildrequests SET buildsetid = 999 WHERE id = 56",
     ["buildrequests 56: buildsetid 999 does not exist, or was left out"]),
    ("INSERT INTO logchunks VALUES (9999, 0, 0, x'61', 0)",
     ["logchunks 9999: logid 9999 does not exist, or was left out"]),
    ("INSERT INTO build_properties VALUES (888, 'n', '1', 's')",
     ["build_properties 888: buildid 888 does not exist, or was left out"]),
    ("INSERT INTO change_files VALUES (77, 'file')",
     ["change_files 77: changeid 77 does not exist, or was left out"]),
    ("INSERT INTO change_users VALUES (9, 99)",
     ["change_users 9 99: uid 99 does not exist, or was left out"]),
    ("UPDATE test_results SET test_nameid = 99 WHERE id = 3",
     ["test_results 3: test_nameid 99 does not exist, or was left out"]),
    ("INSERT INTO builders_tags VALUES (99, 1, 99)",
     ["builders_tags 99: tagid 99 does not exist, or was left out"]),
    ("INSERT INTO object_state VALUES (99, 'k', '1')",
     ["object_state 99 'k': objectid 99 does not exist, or was left out"]),
    ("INSERT INTO scheduler_changes VALUES (99, 1, 1)",
     ["scheduler_changes 99 1: schedulerid 99 does not exist, or its kind is unknown"]),
    # texts that are no UTF-8, or that no database takes
    ("UPDATE steps SET state_string = CAST(x'66ff' AS TEXT) WHERE id = 10", ["steps 10: state_string is no UTF-8"]),
    ("UPDATE changes SET author = CAST(x'66ff' AS TEXT) WHERE changeid = 4", ["changes 4: author is no UTF-8"]),
    ("UPDATE users_info SET attr_data = CAST(x'66ff' AS TEXT) WHERE uid = 4 AND attr_type = 'svn'",
     ["users_info 4 'svn': attr_data is no UTF-8; its readable values are imported"]),
    ("UPDATE build_properties SET name = 'a' || char(0) WHERE buildid = 3 AND name = 'sleep'",
     ["build_properties 3 'a\\x00': name: text with U+0000 cannot be stored"]),
    ("UPDATE logchunks SET content = x'66ff0a61', compressed = 0, first_line = 0, last_line = 1 WHERE logid = 1",
     ["logs 1: the chunk with lines 0 to 1 is left out: its text is no UTF-8; 0 lines are imported"]),
    # rows on which many others depend are there with what can be read of them
    ("UPDATE builders SET description = CAST(x'66ff' AS TEXT) WHERE id = 3",
     ["builders 3: description is no UTF-8; its readable values are imported"]),
    ("UPDATE workers SET info = '{' WHERE id = 1",
     ["workers 1: not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1);"
      " its readable values are imported"]),
    # logs with wrong counts and other things that are wrong with them
    ("UPDATE logs SET num_lines = 12 WHERE id = 2", ["logs 2: num_lines is 12; 9 lines are imported"]),
    ("DELETE FROM logchunks WHERE logid = 139 AND first_line = 1000",
     ["logs 139: lines 1000 to 1999 are missing; 19000 lines are imported"]),
    ("INSERT INTO logchunks SELECT * FROM logchunks WHERE logid = 3",
     ["logs 3: the chunk with lines 0 to 8 is left out: it overlaps an earlier chunk; 9 lines are imported"]),
    ("UPDATE logchunks SET compressed = 2 WHERE logid = 4",
     ["logs 4: the chunk with lines 0 to 6 is left out: it cannot be decompressed: Invalid data stream;"
      " 0 lines are imported"]),
    ("UPDATE logchunks SET content = substr(content, 1, 20) WHERE logid = 5",
     ["logs 5: the chunk with lines 0 to 6 is left out: it cannot be decompressed: the data ends too early, or is too"
      " long; 0 lines are imported"]),
    ("UPDATE logchunks SET compressed = 9 WHERE logid = 6",
     ["logs 6: the chunk with lines 0 to 6 is left out: its compression 9 is unknown;"
      " 0 lines are imported"]),
    ("UPDATE logchunks SET last_line = 7 WHERE logid = 7",
     ["logs 7: the chunk with lines 0 to 7 is left out: it has 9 lines, not 8;"
      " 0 lines are imported"]),
    # values that are none
    ("UPDATE build_properties SET value = '{' WHERE buildid = 4 AND name = 'sleep'",
     ["build_properties 4 'sleep': not JSON: Expecting property name enclosed in double quotes: line 1 column 2"
      " (char 1)"]),
    ("UPDATE build_properties SET value = 'NaN' WHERE buildid = 5 AND name = 'sleep'",
     ["build_properties 5 'sleep': value: nan is not JSON"]),
    ("UPDATE buildset_properties SET property_value = '7' WHERE buildsetid = 6 AND property_name = 'sleep'",
     ["buildset_properties 6 'sleep': property_value: '7' is not a pair of value and source"]),
    ("UPDATE object_state SET value_json = '[' WHERE objectid = 3",
     ["object_state 3 'sample': not JSON: Expecting value: line 1 column 2 (char 1)"]),
    ("UPDATE object_state SET value_json = '[1]' WHERE objectid = 5",
     ["object_state 5 'lastRev': the position of a GitPoller must be a dictionary of branches and revisions"]),
    ("UPDATE patches SET patch_base64 = '!' WHERE id = 1",
     ["patches 1: patch_base64 is no base64: Only base64 data is allowed",
      "sourcestamps 12: patchid 1 does not exist, or was left out"]),
    ("UPDATE steps SET number = 'first' WHERE id = 12", ["steps 12: number must be an integer, not str"]),
    ("UPDATE test_result_sets SET tests_passed = 99999999999999999999 WHERE id = 2",
     ["test_result_sets 2: tests_passed must be an integer, not float"]),
    # numbers that two rows have
    ("DROP INDEX builds_number", []),
    ("UPDATE builds SET number = 13 WHERE id = 44", ["builds 44: another row has the same number 13"]),
]  # fmt: skip

#: rows that go with those that are damaged are told with this
FOLLOWS = "does not exist, or was left out"


@pytest.mark.parametrize("backend", selected_backends())
def test_everything_at_once(backend: str, tmp_path: Path) -> None:
    """Each damaged row is told, and each row that cannot be without it; the rest is there. A second run tells the
    same."""
    path = sample_copy(tmp_path)
    with changed(path) as connection:
        for statement, _ in DAMAGE:
            connection.execute(statement)
    expected = {message for _, messages in DAMAGE for message in messages}
    with imported(backend, path, tmp_path) as found:
        told = [str(each) for each in found.report.left_out]
        assert expected <= set(told), sorted(expected - set(told))
        others = [each for each in told if each not in expected]
        assert all(each.endswith(FOLLOWS) for each in others), others
        assert len(set(told)) == len(told)
        rows = contents(found.url)
        alone = {
            "steps": [10, 12, 1000], "builds": [45, 44], "changes": [4], "buildrequests": [56], "sourcestamps": [12],
            "logs": [],
        }  # fmt: skip
        for table, lost in alone.items():
            key = "changeid" if table == "changes" else "id"
            theirs = {row[0] for row in source_rows(path, f"SELECT {key} FROM {table}")}
            followers = {int(each.split(" ")[1].rstrip(":")) for each in others if each.split(" ")[0] == table}
            assert {row[0] for row in rows[table]} == theirs - set(lost) - followers, table
        assert [row[3] for row in rows["builders"] if row[0] == 3] == ["f\\xff"]
        assert [row[3] for row in rows["workers"] if row[0] == 1] == ["{}"]
        again = run_import(f"sqlite:///{path}", found.url)
        assert sorted(map(str, again.left_out)) == sorted(told)
        assert contents(found.url)["steps"] == rows["steps"]


@pytest.mark.parametrize(
    ("table", "told"), [("steps", "steps"), ("build_properties", "build_properties"), ("logchunks", "logs")]
)
def test_a_file_that_is_damaged(table: str, told: str, tmp_path: Path) -> None:
    """Rows that SQLite cannot read are reported by their ids; the readable ones are imported."""
    path = sample_copy(tmp_path)
    with changed(path) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        leaves = _children(path, size, root)
    with path.open("r+b") as file:
        file.seek((leaves[1] - 1) * size)
        file.write(b"\xff" * 100)
    with imported("sqlite", path, tmp_path) as found:
        damaged = [each for each in found.report.left_out if "the source database is damaged" in each.reason]
        assert damaged and {each.table for each in damaged} == {told}
        lost = {number for each in damaged for number in _range(each.row)}
        assert 0 < len(lost) < 100
        rows = contents(found.url)
        assert {row[0] for row in rows["steps"]} == set(range(1, 380)) - (lost if table == "steps" else set())
        if table == "build_properties":
            assert {row[0] for row in rows[table]} == set(range(1, 49)) - lost
        if table == "logchunks":
            assert len(rows["logs"]) == 151 and 100 < len({row[0] for row in rows[table]}) < 147


def _range(row: str) -> range:
    first, _, last = row.partition(" to ")
    return range(int(first), int(last or first) + 1)


def _children(path: Path, size: int, page: int) -> list[int]:
    """The pages below an inner page of a table, in order."""
    data = path.read_bytes()[(page - 1) * size : page * size]
    assert data[0] == 5
    count = int.from_bytes(data[3:5], "big")
    cells = [int.from_bytes(data[12 + 2 * place : 14 + 2 * place], "big") for place in range(count)]
    return [int.from_bytes(data[cell : cell + 4], "big") for cell in cells]


def test_not_a_database(tmp_path: Path) -> None:
    """A file that is no database is reported as such."""
    path = tmp_path / "source.sqlite"
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(ImportRefusedError, match=r"source\.sqlite cannot be read: file is not a database"):
        run_import(f"sqlite:///{path}", f"sqlite:///{tmp_path / 'target.sqlite'}")


def test_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a package that decompresses logs the message names it; with it the run continues."""
    path, url = sample_copy(tmp_path), f"sqlite:///{tmp_path / 'target.sqlite'}"
    chunks._module.cache_clear()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "brotli", None)
        with pytest.raises(ImportRefusedError, match=r"compressed by Brotli.*pip install 'tenfold\[import\]'"):
            run_import(f"sqlite:///{path}", url)
    assert run_import(f"sqlite:///{path}", url).left_out == []
    assert len(contents(url)["logs"]) == 151


def test_a_log_that_is_larger_than_memory_should_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log is imported in parts, with all its lines."""
    from buildbot.importing import logs

    monkeypatch.setattr(logs, "GROUP_BYTES", 20_000)
    monkeypatch.setattr(logs, "GROUP_CHUNKS", 3)
    with imported("sqlite", sample_copy(tmp_path), tmp_path) as found:
        assert found.report.left_out == []
        rows = [row for row in contents(found.url)["logchunks"] if row[0] == 139]
        assert min(row[1] for row in rows) == 0 and max(row[2] for row in rows) == 19_999
        assert [row[6] for row in contents(found.url)["logs"] if row[0] == 139] == [20_000]


def test_an_emptied_log(tmp_path: Path) -> None:
    """A log whose chunks the old master removed is imported without content."""
    path = sample_copy(tmp_path)
    with changed(path) as connection:
        connection.execute("DELETE FROM logchunks WHERE logid = 9")
        connection.execute("UPDATE logs SET type = 'd' WHERE id = 9")
    with imported("sqlite", path, tmp_path) as found:
        assert found.report.left_out == []


def test_chunk_of_each_kind_that_is_cut_off() -> None:
    """A chunk that was cut off is damaged, with any compression."""
    import bz2

    import brotli
    import lz4.block
    import zstandard

    text = b"line\n" * 999 + b"line"
    for kind, packed in enumerate(
        (text, zlib.compress(text), bz2.compress(text), lz4.block.compress(text), zstandard.compress(text),
         brotli.compress(text))
    ):  # fmt: skip
        assert chunks.text_of(packed, kind, 1000) == text + b"\n"
        for cut in (b"", packed[: len(packed) // 2]):
            with pytest.raises(chunks.DamagedChunkError):
                chunks.text_of(cut, kind, 1000)
