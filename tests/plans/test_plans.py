"""On 100,000 rows of everything, no documented query reads a growing table from end to end (docs/querying.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import text

from buildbot.data.endpoints import Endpoints
from buildbot.db.connector import DBConnector
from buildbot.db.retention import RetentionConnectorComponent
from buildbot.resources import RESOURCES
from buildbot.test.fake.fakedb import make_master
from buildbot.www.api.query import options_of
from tests.plans.large import SIZE, T, thd_fill
from tests.plans.plans import Recorder, is_restricted, scans
from tests.support.databases import selected_backends
from tests.support.reactor import reactor
from tests.support.state import Database, open_database

PAGE = Path(__file__).parents[2] / "docs" / "querying.md"
DOCUMENTED = re.findall(r"^    (/\S+)$", PAGE.read_text(), re.MULTILINE)
GROWING = {resource.table.name for resource in RESOURCES if resource.growing} | {
    "sourcestampset_members",
    "sourcestampset_changes",
}
#: tables that grow with them
PARTS = {"build_properties", "logchunks", "patches", "sourcestampsets"}
#: a value for each variable of paths; there is something there
VALUES = {"n": "77", "i": "compile", "s": "n18"}
SPECIAL = {
    **dict.fromkeys(("builderid", "codebaseid", "masterid", "workerid"), "18"),
    "revision": "r77",
    "log_slug": "stdio",
}
LIMIT = 50
#: one page costs no more, however many rows it has
MAX_STATEMENTS = 12


def _nested() -> list[str]:
    """Every path of the API at which there is something of a noun that grows."""
    master = make_master()
    found = [e.path.pattern for e in master.data.endpoints() if e.growing or e.kind in ("lines", "raw")]
    found += ["builds/n:buildid/properties", "builds/n:buildid/property_list", "buildsets/n:bsid/properties"]
    master.mq.stop()
    master.db.close()
    return sorted(found)


@pytest.fixture(scope="module", params=selected_backends())
def large(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Endpoints]]:
    """A database with much in it, which stays as it is, and the paths of the API on it."""
    backend = request.param
    with open_database(backend, tmp_path_factory.mktemp("large")) as database:
        assert database.engine is not None
        with database.engine.begin() as conn:
            thd_fill(conn)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            # the embedded database never gathers statistics; the servers do so by themselves
            for name in T if backend != "sqlite" else ():
                conn.execute(text(f"ANALYZE {'TABLE ' if backend == 'mysql' else ''}{name}"))
        yield database, Endpoints(DBConnector(None, str(database.url), reactor))


def whole_reads(
    database: Database, endpoints: Endpoints, path: tuple[str, ...], parameters: list[tuple[str, str]]
) -> list[str]:
    """Read what is there, as the HTTP server does; what in the plans of the statements is a scan."""
    endpoint, variables = endpoints.find(path)
    options = options_of(parameters, endpoint.compared, endpoint.is_collection)
    if endpoint.is_collection and endpoint.growing:
        options.setdefault("limit", LIMIT)
    assert database.engine is not None
    with database.engine.connect() as conn:
        recorder: Any = Recorder(conn)
        with recorder.recording():
            endpoint.read(recorder, variables, endpoint.check(options))
        conn.rollback()
        assert 0 < len(recorder.statements) <= MAX_STATEMENTS
        plans = (scans(conn, database.backend, s, GROWING) for s in recorder.statements if not _counts_all(s[0]))
        return [scan for plan in plans for scan in plan]


def queue(database: Database) -> list[str]:
    """What is scanned for the metrics of the queue."""
    db = DBConnector(None, str(database.url), reactor)
    assert database.engine is not None
    with database.engine.connect() as conn:
        recorder: Any = Recorder(conn)
        with recorder.recording():
            assert db.buildrequests.thdQueue(recorder)[0] > 0
        conn.rollback()
        assert 0 < len(recorder.statements) <= 2
        return [scan for s in recorder.statements for scan in scans(conn, database.backend, s, GROWING)]


def _counts_all(statement: str) -> bool:
    """The total of a list that is not restricted is a count of all, which has no shorter way."""
    return statement.startswith("SELECT count(") and not is_restricted(statement)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_scans(large: tuple[Database, Endpoints]) -> None:
    """Each query of the page is answered by an index; so is each path in its own order, in a few statements."""
    asked = [(tuple(urlsplit(url).path[1:].split("/")), parse_qsl(urlsplit(url).query)) for url in DOCUMENTED]
    for pattern in _nested():
        filled = (SPECIAL.get(p.split(":")[1], VALUES[p[0]]) if ":" in p else p for p in pattern.split("/"))
        asked.append((tuple(filled), []))
    assert len(asked) > 100
    database, endpoints = large
    found = {
        (*path, *parameters): plans
        for path, parameters in asked
        if (plans := whole_reads(database, endpoints, path, parameters))
    }
    for query in ("state_string=x", "order=-locks_duration_s"):
        assert whole_reads(database, endpoints, ("builds",), parse_qsl(query)), "a scan was not seen"
    assert queue(database) == []
    assert found == {}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_retention_scans_nothing(large: tuple[Database, Endpoints]) -> None:
    """What has been kept long enough is found and removed by indexes, from wherever a pass has come to."""
    database, _ = large
    assert database.engine is not None
    retention: Any = RetentionConnectorComponent(DBConnector(None, str(database.url), reactor))
    with database.engine.connect() as conn:
        recorder: Any = Recorder(conn)
        ever, half, none = 2**40, SIZE // 2, -SIZE  # none is kept: no builder has a last number here
        logids, _ = retention.thdOldLogs(recorder, ever, none, half)
        retention.thdFullLogs(recorder, logids)
        retention.thdMarkEmpty(recorder, logids)
        retention.thdRemoveChunks(recorder, logids)
        retention.thdRemoveOldData(recorder, ever, none, half)
        builds, place = retention.thdOldBuilds(recorder, ever, none, (0, half))
        retention.thdOldBuilds(recorder, ever, none, place)
        _, setids, _ = retention.thdPartsOfBuild(recorder, builds[0][0])
        retention.thdRemoveResults(recorder, setids)
        retention.thdRemoveBuild(recorder, builds[0][0])
        bsids, brids, stampsets, place = retention.thdOldBuildsets(recorder, ever, (0, half))
        retention.thdOldBuildsets(recorder, ever, place)
        retention.thdRemoveBuildsets(recorder, bsids, brids, stampsets)
        _, place = retention.thdOldChanges(recorder, ever, (0, half))
        retention.thdOldChanges(recorder, ever, place)
        retention.thdRemoveChanges(recorder, [SIZE * 2])
        retention.thdOldStamps(recorder, ever, half)
        retention.thdRemoveStamps(recorder, [SIZE * 2])
        conn.rollback()
        assert len(recorder.statements) > 20
        assert [scan for s in recorder.statements for scan in scans(conn, database.backend, s, GROWING | PARTS)] == []
