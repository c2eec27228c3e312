"""The rows of this project's schema."""

from __future__ import annotations

import json
from typing import Any

from bench import samples
from bench.bulk import Bulk
from buildbot.util import checks, jsontext

T0 = 1_700_000_000


class TenfoldContents:
    """As ``Contents``, after ``bench.actors.schema``."""

    def __init__(self, url: str, finished: int = samples.FINISHED) -> None:
        self._bulk = Bulk(url)
        self._history = finished

    def found(self) -> None:
        """As ``Contents.found``: each request has a buildset, a build with a step and a log, a change and an event."""
        bulk, count = self._bulk, self._history
        number, whole, digits = "((i - 1) {} {}) + 1", bulk.word("div"), bulk.word("hash", "i")
        bulk.rows("builders", [_named("b", i) | {"tags": "[]"} for i in range(samples.BUILDERS)])
        bulk.run("UPDATE builders SET last_number = :last", last=count // samples.BUILDERS + 1)
        bulk.rows("workers", [_named("w", i) | {"info": "{}"} for i in range(samples.WORKERS)])
        line = checks.name_hash(samples.REPOSITORY, samples.PROJECT, "", "1" + samples.BRANCH)
        bulk.fill(
            "sourcestamps",
            count,
            {
                "id": "i",
                "content_hash": digits,
                "branch": _text(samples.BRANCH),
                "revision": digits,
                "repository": _text(samples.REPOSITORY),
                "project": _text(samples.PROJECT),
                "codebase": "''",
                "created_at": f"{T0} + i",
            },
        )
        bulk.fill(
            "changes",
            count,
            {
                "id": "i",
                "author": _text(samples.AUTHOR),
                "committer": _text(samples.AUTHOR),
                "comments": _text(samples.COMMENTS),
                "revision": digits,
                "branch": _text(samples.BRANCH),
                "revlink": "''",
                "when_timestamp": f"{T0} + i",
                "repository": _text(samples.REPOSITORY),
                "project": _text(samples.PROJECT),
                "codebase": "''",
                "files": _text(jsontext.dump_list(samples.FILES)),
                "links": "'[]'",
                "properties": _text(json.dumps({k: [v, "Change"] for k, v in samples.CHANGE_PROPERTIES.items()})),
                "parent_changeids": "'[]'",
                "sourcestampid": "i",
                "history_hash": _text(line),
            },
        )
        self._requests(1, count, complete=True)
        bulk.fill(
            "builds",
            count,
            {
                "id": "i",
                "number": number.format(whole, samples.BUILDERS),
                "builderid": f"((i - 1) % {samples.BUILDERS}) + 1",
                "buildrequestid": "i",
                "workerid": f"((i - 1) % {samples.WORKERS}) + 1",
                "masterid": "1",
                "started_at": f"{T0} + i * 5 + 2",
                "complete_at": f"{T0} + i * 5 + 300",
                "state_string": "'build successful'",
                "results": "0",
            },
        )
        step = {"id": "i", "number": "0", "name": "'step0'", "name_hash": _text(checks.name_hash("step0"))}
        times = {"started_at": f"{T0} + i * 5 + 2", "complete_at": f"{T0} + i * 5 + 299"}
        bulk.fill(
            "steps",
            count,
            {**step, "buildid": "i", **times, "results": "0", "state_string": "'done'", "urls": "'[]'"},
        )
        slug = {"slug": "'stdio'", "slug_hash": _text(checks.name_hash("stdio"))}
        bulk.fill(
            "logs",
            count,
            {"id": "i", "name": "'stdio'", **slug, "stepid": "i", "complete": "1", "num_lines": "0", "type": "'s'"},
        )
        told = int(bulk.scalar("SELECT seq FROM clock WHERE id = 1"))
        bulk.fill(
            "events",
            count,
            {
                "seq": f"{told} + i",
                "routing_keys": "'buildrequests/1/complete'",
                "body": _text(json.dumps({"buildrequestid": 1, "complete": True, "filler": "x" * 300})),
                "masterid": "1",
                "group_token": "''",
                "created_at": str(T0),
            },
        )
        bulk.run("UPDATE clock SET seq = seq + :count WHERE id = 1", count=count)
        bulk.count_on(
            *("builders", "workers", "sourcestamps", "changes", "sourcestampsets", "buildsets", "buildrequests"),
            *("builds", "steps", "logs"),
        )

    def finish_all(self) -> None:
        """As ``Contents.finish_all``."""
        self._bulk.run(
            "UPDATE buildrequests SET complete = 1, results = 0, complete_at = submitted_at WHERE complete = 0"
        )
        self._bulk.run("UPDATE buildsets SET complete = 1, results = 0, complete_at = submitted_at WHERE complete = 0")

    def add_finished(self, count: int) -> None:
        """As ``Contents.add_finished``."""
        self._requests(self._bulk.next_id("buildrequests"), count, complete=True)
        self._bulk.count_on("sourcestampsets", "buildsets", "buildrequests")

    def add_pending(self, count: int) -> tuple[int, int]:
        """As ``Contents.add_pending``."""
        first = self._bulk.next_id("buildrequests")
        self._requests(first, count, complete=False)
        self._bulk.count_on("sourcestampsets", "buildsets", "buildrequests")
        return first, count

    def settle(self) -> None:
        """As ``Contents.settle``."""
        self._bulk.settle()

    def flush(self) -> None:
        """As ``Contents.flush``."""
        self._bulk.flush()

    def close(self) -> None:
        """As ``Contents.close``."""
        self._bulk.close()

    def _requests(self, first: int, count: int, complete: bool) -> None:
        bulk = self._bulk
        setid, bsid = bulk.next_id("sourcestampsets"), bulk.next_id("buildsets")
        bulk.fill("sourcestampsets", count, {"id": f"{setid - 1} + i"})
        stamps = int(bulk.scalar("SELECT COUNT(*) FROM sourcestamps WHERE id <= :most", most=self._history))
        bulk.fill(
            "sourcestampset_members",
            count,
            {"sourcestampsetid": f"{setid - 1} + i", "ssid": f"((i - 1) % {stamps}) + 1"},
        )
        ended = {"complete": "1", "results": "0", "complete_at": f"{T0} + i * 5 + 300"} if complete else {}
        bulk.fill(
            "buildsets",
            count,
            {
                "id": f"{bsid - 1} + i",
                "reason": "'bench'",
                "sourcestampsetid": f"{setid - 1} + i",
                "submitted_at": f"{T0} + i * 5",
                "scheduler": "'s'",
                "properties": _text(json.dumps(samples.BUILDSET_PROPERTIES)),
                **ended,
            },
        )
        claim = {"claimed_by_masterid": "1", "claimed_epoch": "0", "claimed_at": f"{T0} + i * 5 + 1"}
        bulk.fill(
            "buildrequests",
            count,
            {
                "id": f"{first - 1} + i",
                "buildsetid": f"{bsid - 1} + i",
                "builderid": f"((i - 1) % {samples.BUILDERS}) + 1",
                "submitted_at": f"{T0} + i * 5",
                **({**claim, **ended} if complete else {}),
            },
        )


def _named(prefix: str, number: int) -> dict[str, Any]:
    name = f"{prefix}{number + 1}"
    return {"id": number + 1, "name": name, "name_hash": checks.name_hash(name)}


def _text(value: str) -> str:
    # a colon would be a parameter of SQLAlchemy's text()
    return "'" + value.replace("'", "''").replace(":", "\\:") + "'"
