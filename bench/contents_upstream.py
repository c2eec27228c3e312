"""The rows of upstream's schema."""

from __future__ import annotations

from bench import samples
from bench.bulk import Bulk

T0 = 1_700_000_000


class UpstreamContents:
    """As ``Contents``, after ``bench/actors/upstream_schema.py``."""

    def __init__(self, url: str) -> None:
        self._bulk = Bulk(url)

    def found(self) -> None:
        """As ``Contents.found``."""
        bulk, count = self._bulk, samples.FINISHED
        whole, digits = bulk.word("div"), bulk.word("hash", "i")
        far = 2_000_000_000  # this master never expires, so that a starting one repairs nothing
        bulk.rows(
            "masters",
            [{"id": 1, "name": "bench-other", "name_hash": "bench-other", "active": 1, "last_active": far}],
        )
        bulk.rows("builders", [_named("b", i) for i in range(samples.BUILDERS)])
        bulk.rows(
            "builder_masters",
            [{"id": i + 1, "builderid": i + 1, "masterid": 1} for i in range(samples.BUILDERS)],
        )
        bulk.rows(
            "workers",
            [
                {"id": i + 1, "name": f"w{i + 1}", "info": "{}", "paused": 0, "graceful": 0}
                for i in range(samples.WORKERS)
            ],
        )
        code = {
            "branch": f"'{samples.BRANCH}'",
            "revision": digits,
            "repository": f"'{samples.REPOSITORY}'".replace(":", "\\:"),
            "codebase": "''",
            "project": f"'{samples.PROJECT}'",
        }
        bulk.fill("sourcestamps", count, {"id": "i", "ss_hash": digits, **code, "created_at": f"{T0} + i"})
        bulk.fill(
            "changes",
            count,
            {
                "changeid": "i",
                "author": f"'{samples.AUTHOR}'",
                "committer": f"'{samples.AUTHOR}'",
                "comments": f"'{samples.COMMENTS}'",
                "revlink": "''",
                "when_timestamp": f"{T0} + i",
                **code,
                "sourcestampid": "i",
            },
        )
        for name in samples.FILES:
            bulk.fill("change_files", count, {"changeid": "i", "filename": f"'{name}'"})
        bulk.fill(
            "change_properties",
            count,
            {"changeid": "i", "property_name": "'owner'", "property_value": '\'["dev", "Change"]\''},
        )
        self._requests(1, count, complete=True)
        bulk.fill(
            "builds",
            count,
            {
                "id": "i",
                "number": f"((i - 1) {whole} {samples.BUILDERS}) + 1",
                "builderid": f"((i - 1) % {samples.BUILDERS}) + 1",
                "buildrequestid": "i",
                "workerid": f"((i - 1) % {samples.WORKERS}) + 1",
                "masterid": "1",
                "started_at": f"{T0} + i * 5 + 2",
                "complete_at": f"{T0} + i * 5 + 300",
                "locks_duration_s": "0",
                "state_string": "'build successful'",
                "results": "0",
            },
        )
        bulk.count_on("masters", "builders", "builder_masters", "workers", "sourcestamps", "buildsets")
        bulk.count_on("buildrequests", "buildset_sourcestamps", "builds")
        if bulk.backend == "postgresql":
            bulk.scalar("SELECT setval(pg_get_serial_sequence('changes', 'changeid'), :last)", last=count)

    def finish_all(self) -> None:
        """As ``Contents.finish_all``."""
        self._bulk.run("UPDATE buildrequests SET complete = 1, results = 0 WHERE complete = 0")
        self._bulk.run("UPDATE buildsets SET complete = 1, results = 0 WHERE complete = 0")

    def add_finished(self, count: int) -> None:
        """As ``Contents.add_finished``."""
        self._requests(self._bulk.next_id("buildrequests"), count, complete=True)
        self._bulk.count_on("buildsets", "buildrequests")

    def add_pending(self, count: int) -> tuple[int, int]:
        """As ``Contents.add_pending``."""
        first = self._bulk.next_id("buildrequests")
        self._requests(first, count, complete=False)
        self._bulk.count_on("buildsets", "buildrequests")
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
        bulk, bsid = self._bulk, self._bulk.next_id("buildsets")
        ended = {"complete": "1", "results": "0", "complete_at": f"{T0} + i * 5 + 300"}
        state = ended if complete else {"complete": "0", "results": "-1"}
        bulk.fill(
            "buildsets",
            count,
            {"id": f"{bsid - 1} + i", "reason": "'bench'", "submitted_at": f"{T0} + i * 5", **state},
        )
        bulk.fill(
            "buildset_sourcestamps",
            count,
            {"buildsetid": f"{bsid - 1} + i", "sourcestampid": f"((i - 1) % {samples.CYCLE}) + 1"},
        )
        bulk.fill(
            "buildset_properties",
            count,
            {
                "buildsetid": f"{bsid - 1} + i",
                "property_name": "'scheduler'",
                "property_value": '\'["s", "Scheduler"]\'',
            },
        )
        bulk.fill(
            "buildrequests",
            count,
            {
                "id": f"{first - 1} + i",
                "buildsetid": f"{bsid - 1} + i",
                "builderid": f"((i - 1) % {samples.BUILDERS}) + 1",
                "priority": "0",
                "submitted_at": f"{T0} + i * 5",
                "waited_for": "0",
                **state,
            },
        )
        if complete:
            bulk.fill(
                "buildrequest_claims",
                count,
                {"brid": f"{first - 1} + i", "masterid": "1", "claimed_at": f"{T0} + i * 5"},
            )


def _named(prefix: str, number: int) -> dict[str, object]:
    name = f"{prefix}{number + 1}"
    return {"id": number + 1, "name": name, "name_hash": name}
