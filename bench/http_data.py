"""What both servers have in their databases while HTTP is measured: the same farm in each schema."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import zstandard

from bench.bulk import Bulk
from buildbot.util import checks, jsontext

T0 = 1_700_000_000
LINES = 20_000
_SHORT_LINES = 40
_CHUNK_LINES = 1_000


@dataclass(frozen=True)
class Size:
    """How large the farm is; steps are five to a build."""

    builds: int
    changes: int
    logs: int
    builders: int = 100
    workers: int = 50
    pending: int = 500
    running: int = 40


FULL = Size(builds=200_000, changes=100_000, logs=50_000)
QUICK = Size(builds=10_000, changes=5_000, logs=2_000)


def line(number: int) -> str:
    """A line of a log."""
    file = f"src/module_{number * 7 % 97}/file_{number * 13 % 1009}.c"
    return f"o{number:06d} compiling {file} -O2 -Wall -Werror ... ok\n"


def fill_tenfold(bulk: Bulk, size: Size) -> None:
    """Rows of this project's schema, in which master 1 is registered."""
    digits = bulk.word("hash", "i")
    bulk.rows("builders", [{**_named("b", i), "tags": json.dumps([f"tag{i % 10 + 1}"])} for i in _upto(size.builders)])
    bulk.rows("builder_masters", [{"builderid": i, "masterid": 1} for i in _upto(size.builders)])
    bulk.run("UPDATE builders SET last_number = :last", last=size.builds // size.builders + 1)
    bulk.rows("workers", [{**_named("w", i), "info": "{}"} for i in _upto(size.workers)])
    code = {
        "branch": "'main'",
        "revision": digits,
        "repository": _text("https://example.org/repo.git"),
        "project": "'proj'",
        "codebase": "''",
    }
    bulk.fill("sourcestamps", size.changes, {"id": "i", "content_hash": digits, **code, "created_at": f"{T0} + i"})
    bulk.fill(
        "changes",
        size.changes,
        {
            "id": "i",
            "author": "'dev <d@example.org>'",
            "committer": "'dev <d@example.org>'",
            "comments": _text("fix a thing\n\nlonger text here"),
            **code,
            "revlink": _text("https://example.org/c/1"),
            "when_timestamp": f"{T0} + i",
            "files": _text(jsontext.dump_list(["src/m1/a.c", "src/m1/b.h", "doc/x.rst"])),
            "links": "'[]'",
            "properties": _text(json.dumps({"owner": ["dev", "Change"]})),
            "parent_changeids": "'[]'",
            "sourcestampid": "i",
            "history_hash": _text(checks.name_hash("line")),
        },
    )
    requests, done = size.builds + size.pending, f"i <= {size.builds - size.running}"
    failed = "CASE WHEN i % 10 = 0 THEN 2 ELSE 0 END"
    ended = {
        "complete": f"CASE WHEN {done} THEN 1 ELSE 0 END",
        "results": f"CASE WHEN {done} THEN {failed} ELSE -1 END",
        "complete_at": f"CASE WHEN {done} THEN {T0} + i * 5 + 300 END",
    }
    properties = {"owner": ["dev", "Scheduler"], "scheduler": ["main", "Scheduler"]}
    bulk.fill("sourcestampsets", requests, {"id": "i"})
    bulk.fill("sourcestampset_members", requests, {"sourcestampsetid": "i", "ssid": f"((i - 1) % {size.changes}) + 1"})
    bulk.fill(
        "buildsets",
        requests,
        {
            "id": "i",
            "reason": "'bench'",
            "sourcestampsetid": "i",
            "submitted_at": f"{T0} + i * 5",
            "scheduler": "'main'",
            "properties": _text(json.dumps(properties)),
            **ended,
        },
    )
    claimed = f"CASE WHEN i <= {size.builds} THEN {{}} END"
    bulk.fill(
        "buildrequests",
        requests,
        {
            "id": "i",
            "buildsetid": "i",
            "builderid": f"i % {size.builders} + 1",
            "submitted_at": f"{T0} + i * 5",
            "claimed_by_masterid": claimed.format("1"),
            "claimed_epoch": claimed.format("1"),
            "claimed_at": claimed.format(f"{T0} + i * 5 + 1"),
            **ended,
        },
    )
    bulk.fill(
        "builds",
        size.builds,
        {
            "id": "i",
            "number": f"((i - 1) {bulk.word('div')} {size.builders}) + 1",
            "builderid": f"i % {size.builders} + 1",
            "buildrequestid": "i",
            "workerid": f"i % {size.workers} + 1",
            "masterid": "1",
            "started_at": f"{T0} + i * 5 + i * 7 % 60",
            "complete_at": ended["complete_at"],
            "state_string": f"CASE WHEN {done} THEN 'build successful' ELSE 'building' END",
            "results": f"CASE WHEN {done} THEN {failed} END",
        },
    )
    for name, value in (("branch", "main"), ("got_revision", "r1"), ("owner", "dev")):
        bulk.fill(
            "build_properties",
            size.builds,
            {
                "buildid": "i",
                "name_hash": _text(checks.name_hash(name)),
                "name": f"'{name}'",
                "value": _text(json.dumps(value)),
                "source": "'Build'",
            },
        )
    for number in range(5):
        bulk.fill(
            "steps",
            size.builds,
            {
                "id": f"(i - 1) * 5 + {number + 1}",
                "number": str(number),
                "name": f"'step{number}'",
                "name_hash": _text(checks.name_hash(f"step{number}")),
                "buildid": "i",
                "started_at": f"{T0} + i * 5 + {number * 5}",
                "locks_acquired_at": f"{T0} + i * 5 + {number * 5}",
                "complete_at": f"CASE WHEN {done} THEN {T0} + i * 5 + {number * 5 + 4} END",
                "results": f"CASE WHEN {done} THEN 0 END",
                "state_string": "'done'",
                "urls": "'[]'",
            },
        )
    bulk.fill(
        "logs",
        size.logs,
        {
            "id": "i",
            "name": "'stdio'",
            "slug": "'stdio'",
            "slug_hash": _text(checks.name_hash("stdio")),
            "stepid": "i",
            "complete": "1",
            "num_lines": f"CASE WHEN i = 1 THEN {LINES} ELSE {_SHORT_LINES} END",
            "type": "'s'",
        },
    )
    compress = zstandard.ZstdCompressor(level=3).compress
    chunks = [
        {"logid": 1, "first_line": a, "last_line": b - 1, "compressed": 1, "content": compress(_lines(a, b).encode())}
        for a, b in _chunks()
    ]
    bulk.rows("logchunks", chunks)
    short = {"first_line": "0", "last_line": str(_SHORT_LINES - 1), "compressed": "1"}
    bulk.fill(
        "logchunks",
        size.logs - 1,
        {"logid": "i + 1", **short, "content": _blob(bulk, compress(_lines(0, _SHORT_LINES).encode()))},
    )
    # the farm is another master's, which never expires, so that the one that is measured has nothing to clean up
    bulk.run("UPDATE masters SET active = 1, last_active = 4000000000 WHERE id = 1")
    bulk.run("UPDATE clock SET seq = seq + :count WHERE id = 1", count=size.builds)
    bulk.run("UPDATE clock SET trimmed = seq WHERE id = 1")
    bulk.run("DELETE FROM events")
    bulk.count_on(
        *("builders", "workers", "sourcestamps", "changes", "sourcestampsets", "buildsets", "buildrequests"),
        *("builds", "steps", "logs"),
    )


def fill_upstream(bulk: Bulk, size: Size) -> None:
    """Rows of upstream's schema."""
    digits = bulk.word("hash", "i")
    far = 2_000_000_000  # this master never expires, so that a starting one repairs nothing
    bulk.rows("masters", [{"id": 1, "name": "bench-other", "name_hash": "x", "active": 1, "last_active": far}])
    bulk.rows("builders", [_hashed("b", i) for i in _upto(size.builders)])
    bulk.rows("builder_masters", [{"id": i, "builderid": i, "masterid": 1} for i in _upto(size.builders)])
    bulk.rows("tags", [_hashed("tag", i) for i in _upto(10)])
    bulk.rows("builders_tags", [{"id": i, "builderid": i, "tagid": i % 10 + 1} for i in _upto(size.builders)])
    bulk.rows(
        "workers",
        [{"id": i, "name": f"w{i}", "info": "{}", "paused": 0, "graceful": 0} for i in _upto(size.workers)],
    )
    code = {
        "branch": "'main'",
        "revision": digits,
        "repository": _text("https://example.org/repo.git"),
        "codebase": "''",
        "project": "'proj'",
    }
    bulk.fill("sourcestamps", size.changes, {"id": "i", "ss_hash": digits, **code, "created_at": f"{T0} + i"})
    bulk.fill(
        "changes",
        size.changes,
        {
            "changeid": "i",
            "author": "'dev <d@example.org>'",
            "committer": "'dev <d@example.org>'",
            "comments": _text("fix a thing\n\nlonger text here"),
            "revlink": _text("https://example.org/c/1"),
            "when_timestamp": f"{T0} + i",
            **code,
            "sourcestampid": "i",
        },
    )
    for name in ("src/m1/a.c", "src/m1/b.h", "doc/x.rst"):
        bulk.fill("change_files", size.changes, {"changeid": "i", "filename": f"'{name}'"})
    owner = {"property_name": "'owner'", "property_value": '\'["dev", "Change"]\''}
    bulk.fill("change_properties", size.changes, {"changeid": "i", **owner})
    requests, done = size.builds + size.pending, f"i <= {size.builds - size.running}"
    failed = "CASE WHEN i % 10 = 0 THEN 2 ELSE 0 END"
    ended = {
        "complete": f"CASE WHEN {done} THEN 1 ELSE 0 END",
        "results": f"CASE WHEN {done} THEN {failed} ELSE -1 END",
        "complete_at": f"CASE WHEN {done} THEN {T0} + i * 5 + 300 END",
    }
    bulk.fill("buildsets", requests, {"id": "i", "reason": "'bench'", "submitted_at": f"{T0} + i * 5", **ended})
    bulk.fill(
        "buildset_sourcestamps", requests, {"buildsetid": "i", "sourcestampid": f"((i - 1) % {size.changes}) + 1"}
    )
    for name, value in (("owner", "dev"), ("scheduler", "main")):
        values = {"property_name": f"'{name}'", "property_value": f'\'["{value}", "Scheduler"]\''}
        bulk.fill("buildset_properties", requests, {"buildsetid": "i", **values})
    bulk.fill(
        "buildrequests",
        requests,
        {
            "id": "i",
            "buildsetid": "i",
            "builderid": f"i % {size.builders} + 1",
            "priority": "0",
            "submitted_at": f"{T0} + i * 5",
            "waited_for": "0",
            **ended,
        },
    )
    claim = {"brid": "i", "masterid": "1", "claimed_at": f"{T0} + i * 5 + 1"}
    bulk.fill("buildrequest_claims", size.builds, claim)
    bulk.fill(
        "builds",
        size.builds,
        {
            "id": "i",
            "number": f"((i - 1) {bulk.word('div')} {size.builders}) + 1",
            "builderid": f"i % {size.builders} + 1",
            "buildrequestid": "i",
            "workerid": f"i % {size.workers} + 1",
            "masterid": "1",
            "started_at": f"{T0} + i * 5 + i * 7 % 60",
            "complete_at": ended["complete_at"],
            "locks_duration_s": "0",
            "state_string": f"CASE WHEN {done} THEN 'build successful' ELSE 'building' END",
            "results": f"CASE WHEN {done} THEN {failed} END",
        },
    )
    for name, value in (("branch", "main"), ("got_revision", "r1"), ("owner", "dev")):
        values = {"name": f"'{name}'", "value": f"'\"{value}\"'", "source": "'Build'"}
        bulk.fill("build_properties", size.builds, {"buildid": "i", **values})
    for number in range(5):
        bulk.fill(
            "steps",
            size.builds,
            {
                "id": f"(i - 1) * 5 + {number + 1}",
                "number": str(number),
                "name": f"'step{number}'",
                "buildid": "i",
                "started_at": f"{T0} + i * 5 + {number * 5}",
                "locks_acquired_at": f"{T0} + i * 5 + {number * 5}",
                "complete_at": f"CASE WHEN {done} THEN {T0} + i * 5 + {number * 5 + 4} END",
                "state_string": "'done'",
                "results": f"CASE WHEN {done} THEN 0 END",
                "urls_json": "'[]'",
                "hidden": "0",
            },
        )
    bulk.fill(
        "logs",
        size.logs,
        {
            "id": "i",
            "name": "'stdio'",
            "slug": "'stdio'",
            "stepid": "i",
            "complete": "1",
            "num_lines": f"CASE WHEN i = 1 THEN {LINES} ELSE {_SHORT_LINES} END",
            "type": "'s'",
        },
    )

    def compress(text: str) -> bytes:
        return zlib.compress(text.removesuffix("\n").encode(), 9)

    chunks = [
        {"logid": 1, "first_line": a, "last_line": b - 1, "content": compress(_lines(a, b)), "compressed": 1}
        for a, b in _chunks()
    ]
    bulk.rows("logchunks", chunks)
    short = {"first_line": "0", "last_line": str(_SHORT_LINES - 1), "compressed": "1"}
    content = _blob(bulk, compress(_lines(0, _SHORT_LINES)))
    bulk.fill("logchunks", size.logs - 1, {"logid": "i + 1", **short, "content": content})
    bulk.count_on("masters", "builders", "builder_masters", "workers", "tags", "builders_tags", "sourcestamps")
    bulk.count_on("buildsets", "buildrequests", "buildset_sourcestamps", "builds", "steps", "logs")
    if bulk.backend == "postgresql":
        bulk.scalar("SELECT setval(pg_get_serial_sequence('changes', 'changeid'), :last)", last=size.changes)


def _upto(count: int) -> range:
    return range(1, count + 1)


def _named(prefix: str, number: int) -> dict[str, object]:
    name = f"{prefix}{number}"
    return {"id": number, "name": name, "name_hash": checks.name_hash(name)}


def _hashed(prefix: str, number: int) -> dict[str, object]:
    # upstream's own digest, so that a configuration with the same names finds them
    import hashlib

    name = f"{prefix}{number}"
    return {"id": number, "name": name, "name_hash": hashlib.sha1(name.encode()).hexdigest()}


def _lines(first: int, end: int) -> str:
    return "".join(map(line, range(first, end)))


def _chunks() -> list[tuple[int, int]]:
    return [(first, first + _CHUNK_LINES) for first in range(0, LINES, _CHUNK_LINES)]


def _blob(bulk: Bulk, content: bytes) -> str:
    return f"'\\\\x{content.hex()}'" if bulk.backend == "postgresql" else f"X'{content.hex()}'"


def _text(value: str) -> str:
    # a colon would be a parameter of SQLAlchemy's text()
    return "'" + value.replace("'", "''").replace(":", "\\:") + "'"
