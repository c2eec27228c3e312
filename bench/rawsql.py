"""The hand-written SQL: for each item the same durable rows as this project writes, and nothing else.

No event, no check, no answer read back. ``call_done`` stands at the end of each call of the API; whoever runs it
commits there, or once for many calls.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import zstandard

from bench import samples
from bench.driver import Driver

#: the master and the epoch that the rows name
MASTER, EPOCH = 1, 1

_CHANGE = (
    "INSERT INTO changes (author, committer, comments, is_dir, revision, branch, revlink, when_timestamp, repository,"
    " project, codebase, files, links, properties, parent_changeids, sourcestampid, history_hash)"
)
_BEFORE = "(SELECT '[' || earlier.id || ']' FROM changes AS earlier WHERE history_hash = ? ORDER BY id DESC LIMIT 1)"
_COLUMNS = "?, ?, ?, 0, ?, ?, '', ?, ?, ?, '', ?, '[]', ?, COALESCE(" + _BEFORE + ", '[]'), ?, ?"
#: MySQL refuses a subquery on the same table among VALUES
_ADD_CHANGE = {
    "sqlite": f"{_CHANGE} VALUES ({_COLUMNS})",
    "postgresql": f"{_CHANGE} VALUES ({_COLUMNS})",
    "mysql": f"{_CHANGE} SELECT {_COLUMNS}",
}
_STAMP = (
    "INSERT INTO sourcestamps (content_hash, branch, revision, repository, project, codebase, created_at)"
    " VALUES (?, ?, ?, ?, ?, '', ?)"
)
_SET_STATE = "INSERT INTO object_state (objectid, name_hash, name, value_json) VALUES (?, ?, ?, ?)"
_OVERWRITE = {
    "sqlite": " ON CONFLICT (objectid, name_hash) DO UPDATE SET value_json = excluded.value_json",
    "postgresql": " ON CONFLICT (objectid, name_hash) DO UPDATE SET value_json = excluded.value_json",
    "mysql": " ON DUPLICATE KEY UPDATE value_json = VALUES(value_json)",
}
_EMPTY_SET = {
    "sqlite": "INSERT INTO sourcestampsets DEFAULT VALUES",
    "postgresql": "INSERT INTO sourcestampsets DEFAULT VALUES",
    "mysql": "INSERT INTO sourcestampsets () VALUES ()",
}
_COMPLETE = (
    "UPDATE buildrequests SET complete = 1, results = 0, complete_at = ?"
    " WHERE id {ids} AND +claimed_by_masterid = ? AND +complete = 0"
)
_FINISH_SETS = (
    "UPDATE buildsets SET complete = 1, results = 0, complete_at = ? WHERE +complete = 0 AND id {ids}"
    " AND NOT EXISTS (SELECT 1 FROM buildrequests AS other WHERE other.buildsetid = buildsets.id"
    " AND +other.complete = 0)"
)
#: MariaDB reads the whole table for UPDATE … IN (SELECT …)
_FINISH_SETS_MYSQL = (
    "UPDATE buildsets JOIN (SELECT DISTINCT buildsetid FROM buildrequests WHERE id {ids}) AS these"
    " ON these.buildsetid = buildsets.id SET complete = 1, results = 0, complete_at = ? WHERE complete = 0"
    " AND NOT EXISTS (SELECT 1 FROM buildrequests AS other WHERE other.buildsetid = buildsets.id"
    " AND other.complete = 0)"
)
_PENDING = (
    "SELECT r.id, r.buildsetid, b.name, r.priority, r.claimed_by_masterid, r.claimed_at, r.complete, r.complete_at,"
    " r.builderid, r.results, r.submitted_at, r.waited_for FROM buildrequests AS r JOIN builders AS b"
    " ON b.id = r.builderid WHERE r.claimed_by_masterid IS NULL AND r.complete = 0 ORDER BY r.id"
)
_BUILD = (
    "SELECT id, number, buildrequestid, started_at, complete_at, builderid, workerid, masterid, results, state_string"
    " FROM builds WHERE id = ?"
)
_GET_CHANGE = (
    "SELECT id, author, committer, comments, is_dir, revision, branch, category, revlink, when_timestamp, repository,"
    " project, codebase, files, links, properties, parent_changeids, sourcestampid FROM changes WHERE id = ?"
)


class RawSQL:
    """The operations."""

    def __init__(self, driver: Driver, call_done: Callable[[], None]) -> None:
        self.driver = driver
        self.call_done = call_done
        self.ids: list[int] = []
        self.operations: dict[str, Callable[[], Any]] = {
            "addChange": self.add_change,
            "addBuildset_1": lambda: self.add_buildset(1),
            "addBuildset_10": lambda: self.add_buildset(10),
            "claim_1": lambda: self.claim_and_complete(1),
            "claim_100": lambda: self.claim_and_complete(100),
            "setState": self.set_state,
            "getBuild": lambda: driver.one(_BUILD, (self._next_id(),)),
            "dataGetBuild": lambda: driver.one(_BUILD, (self._next_id(),)),
            "getState": self.get_state,
            "getChange": lambda: driver.one(_GET_CHANGE, (self._next_id(),)),
            "lifecycle": self.live,
            "pending_100": lambda: driver.all(_PENDING),
            "pending_10000": lambda: driver.all(_PENDING),
        }
        self._numbers = itertools.count()
        self._tag = f"r{int(time.time()):x}_"
        self._chunk = samples.chunk().encode()
        self._compressor = zstandard.ZstdCompressor(level=3)
        self._next_id = samples.ids_in_turn().__next__
        self._line = _hash(samples.REPOSITORY, samples.PROJECT, "", samples.BRANCH)
        self._stamp = _hash("no revision", samples.PROJECT)
        self._files = json.dumps(samples.FILES)
        self._change_properties = json.dumps({k: [v, "Change"] for k, v in samples.CHANGE_PROPERTIES.items()})
        self._buildset_properties = json.dumps(samples.BUILDSET_PROPERTIES)
        self._object = 0

    def prepare(self) -> None:
        """The object of ``setState`` and the source stamp of ``addBuildset``."""
        driver = self.driver
        driver.begin()
        row = driver.one("SELECT id FROM objects WHERE object_hash = ?", (_hash("raw"),))
        self._object = (
            row[0]
            if row
            else driver.add(
                "INSERT INTO objects (name, class_name, object_hash) VALUES ('raw', 'Raw', ?)", (_hash("raw"),)
            )
        )
        if driver.one("SELECT id FROM sourcestamps WHERE content_hash = ?", (self._stamp,)) is None:
            driver.run(_STAMP, (self._stamp, None, None, "", samples.PROJECT, _now()))
        for _ in range(50):
            self.set_state()
        driver.commit()

    def add_change(self) -> None:
        """A source stamp, unless it is known, and the change."""
        driver, now = self.driver, _now()
        revision = f"{self._tag}{next(self._numbers)}"
        code = (samples.BRANCH, revision, samples.REPOSITORY, samples.PROJECT)
        stamp = (_hash(*code), *code, now)
        if driver.backend == "mysql":
            driver.run(f"{_STAMP} ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)", stamp)
            ssid = driver.cursor.lastrowid
        else:
            row = driver.one(f"{_STAMP} ON CONFLICT (content_hash) DO NOTHING RETURNING id", stamp)
            if row is None:
                row = driver.one("SELECT id FROM sourcestamps WHERE content_hash = ?", stamp[:1])
            ssid = row[0]
        values = (
            *(samples.AUTHOR, samples.AUTHOR, samples.COMMENTS, revision, samples.BRANCH, now, samples.REPOSITORY),
            *(samples.PROJECT, self._files, self._change_properties, self._line, ssid, self._line),
        )
        driver.add(_ADD_CHANGE[driver.backend], values)
        self.call_done()

    def add_buildset(self, builders: int) -> None:
        """A set of one known source stamp, the buildset and its requests."""
        driver, now = self.driver, _now()
        setid = driver.add(_EMPTY_SET[driver.backend])
        ssid = driver.one("SELECT id FROM sourcestamps WHERE content_hash = ?", (self._stamp,))[0]
        driver.run("INSERT INTO sourcestampset_members (sourcestampsetid, ssid) VALUES (?, ?)", (setid, ssid))
        bsid = driver.add(
            "INSERT INTO buildsets (reason, sourcestampsetid, submitted_at, scheduler, properties)"
            " VALUES ('bench', ?, ?, 's', ?)",
            (setid, now, self._buildset_properties),
        )
        values = [value for i in range(builders) for value in (bsid, i + 1, now)]
        driver.add(
            "INSERT INTO buildrequests (buildsetid, builderid, priority, submitted_at, waited_for) VALUES "
            + ", ".join(["(?, ?, 0, ?, 0)"] * builders),
            values,
        )
        self.call_done()

    def claim_and_complete(self, count: int) -> None:
        """Two calls."""
        ids = [self.ids.pop() for _ in range(count)]
        self.claim(ids)
        self.call_done()
        self.complete(ids)
        self.call_done()

    def claim(self, ids: Sequence[int]) -> None:
        """All of them, which nobody has claimed."""
        # "+" keeps planners from the index of pending requests
        changed = self.driver.run(
            "UPDATE buildrequests SET claimed_by_masterid = ?, claimed_epoch = ?, claimed_at = ?"
            f" WHERE id {self._in(ids)} AND +claimed_by_masterid IS NULL AND +complete = 0",
            (MASTER, EPOCH, _now(), *self._list(ids)),
        )
        assert changed == len(ids)

    def complete(self, ids: Sequence[int]) -> None:
        """All of them, and the buildsets of which they were the last."""
        driver, text, values = self.driver, _COMPLETE.format(ids=self._in(ids)), (_now(), *self._list(ids), MASTER)
        if driver.backend == "mysql":
            changed = driver.run(text, values)
            driver.run(_FINISH_SETS_MYSQL.format(ids=self._in(ids)), (*ids, _now()))
        else:
            rows = driver.all(f"{text} RETURNING buildsetid", values)
            changed, bsids = len(rows), list({row[0] for row in rows})
            driver.run(_FINISH_SETS.format(ids=self._in(bsids)), (_now(), *self._list(bsids)))
        assert changed == len(ids)

    def set_state(self) -> None:
        """Over whatever there is."""
        number = next(self._numbers)
        name = samples.state_name(number)
        values = (self._object, _hash(name), name, json.dumps(samples.state(number)))
        self.driver.run(_SET_STATE + _OVERWRITE[self.driver.backend], values)
        self.call_done()

    def get_state(self) -> Any:
        """One value."""
        key = (self._object, _hash(samples.state_name(1)))
        row = self.driver.one("SELECT value_json FROM object_state WHERE objectid = ? AND name_hash = ?", key)
        return json.loads(row[0])

    def live(self) -> None:
        """A build's life, in the transactions of the real one."""
        driver, brid, now = self.driver, self.ids.pop(), _now()
        builderid = brid % samples.BUILDERS + 1
        self.claim([brid])
        self.call_done()
        buildid = driver.add(
            "INSERT INTO builds (number, builderid, buildrequestid, workerid, masterid, started_at, state_string)"
            " VALUES (?, ?, ?, 1, ?, ?, 'created')",
            (self._build_number(builderid), builderid, brid, MASTER, now),
        )
        for number in range(samples.STEPS):
            self._live_step(buildid, number, now)
        self.call_done()
        driver.run("UPDATE builds SET complete_at = ?, results = 0 WHERE id = ?", (now, buildid))
        self.complete([brid])
        self.call_done()

    def _live_step(self, buildid: int, number: int, now: int) -> None:
        """A step; its end is committed with what follows."""
        driver, name = self.driver, f"step{number}"
        stepid = driver.add(
            "INSERT INTO steps (number, name, name_hash, buildid, state_string, urls, hidden, started_at,"
            " locks_acquired_at) VALUES (?, ?, ?, ?, 'pending', '[]', 0, ?, ?)",
            (number, name, _hash(name), buildid, now, now),
        )
        self.call_done()
        logid = driver.add(
            "INSERT INTO logs (name, slug, slug_hash, stepid, type) VALUES ('stdio', 'stdio', ?, ?, 's')",
            (_hash("stdio"), stepid),
        )
        last = (samples.CHUNKS - 1) * samples.CHUNK_LINES
        for first in range(0, last + 1, samples.CHUNK_LINES):
            self.call_done()
            after = first + samples.CHUNK_LINES
            driver.run(
                "INSERT INTO logchunks (logid, first_line, last_line, compressed, content) VALUES (?, ?, ?, 1, ?)",
                (logid, first, after - 1, self._compressor.compress(self._chunk)),
            )
            complete = int(first == last)
            driver.run("UPDATE logs SET num_lines = ?, complete = ? WHERE id = ?", (after, complete, logid))
        driver.run("UPDATE steps SET complete_at = ?, results = 0, hidden = 0 WHERE id = ?", (now, stepid))

    def _build_number(self, builderid: int) -> int:
        raise_it = "UPDATE builders SET last_number = {} WHERE id = ?"
        if self.driver.backend == "mysql":
            self.driver.run(raise_it.format("LAST_INSERT_ID(last_number + 1)"), (builderid,))
            return int(self.driver.cursor.lastrowid)
        row = self.driver.one(raise_it.format("last_number + 1") + " RETURNING last_number", (builderid,))
        return int(row[0])

    def _in(self, ids: Sequence[int]) -> str:
        return "= ANY(?)" if self.driver.backend == "postgresql" else f"IN ({', '.join('?' * len(ids))})"

    def _list(self, ids: Sequence[int]) -> Sequence[Any]:
        return [list(ids)] if self.driver.backend == "postgresql" else ids


def _now() -> int:
    return int(time.time())


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
