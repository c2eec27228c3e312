"""``/metrics``, ``/health`` and ``/ready``."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed

from buildbot.process.services import ProcessLayer
from buildbot.reporters.delivery import deliveries_of
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www import operating
from buildbot.www.authz import Authz, endpointmatchers
from buildbot.www.http.messages import Request, Response
from tests.unit.www.clients import raw
from tests.unit.www.test_site import a_build, get, parse, request, serving

PAGE = Path(__file__).parents[3] / "docs" / "operating.md"


async def metrics(port: int) -> dict[str, tuple[str, str]]:
    """Kind and meaning of each metric of ours, by name, as Prometheus reads them."""
    status, headers, body = parse(await raw(port, request("GET", "/metrics")))
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    text = body.decode()
    docs = dict(re.findall(r"^# HELP (tenfold_\w+) (.*)$", text, re.MULTILINE))
    kinds = dict(re.findall(r"^# TYPE (tenfold_\w+) (\w+)$", text, re.MULTILINE))
    assert "process_resident_memory_bytes" in text
    return {name: (kinds[name], doc) for name, doc in docs.items()}


async def test_metrics_are_documented(master: FakeMaster) -> None:
    """The table of docs/operating.md has every metric, with its kind and its meaning, and no other."""
    process: Any = ProcessLayer(master)  # type: ignore[arg-type]
    master.metrics.add(process.workers.metrics)
    deliveries_of(master)  # as the first reporter does
    async with serving(master) as (_, port):
        found = await metrics(port)
    rows = re.findall(r"^\| `(tenfold_\w+)`[^|]*\| (\w+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert {name: (kind, doc) for name, kind, doc in rows} == found


async def test_requests_are_counted_by_class_and_status(master: FakeMaster) -> None:
    """Requests are counted by class of the path and by status, also those to invented paths."""
    await a_build(master)
    async with serving(master) as (_, port):
        for path in ("/api/v2/builds", "/api/v2/nothing", "/made/up", "/%zz"):
            await raw(port, request("GET", path))
        await raw(port, request("POST", "/api/v2/builds/1", b"{}", Content_Type="application/json"))
        await raw(port, b"garbage\r\n\r\n")
        text = (await raw(port, request("GET", "/metrics"))).decode()
    for line in (
        'tenfold_http_requests_total{path="api",status="200"} 1.0',
        'tenfold_http_requests_total{path="api",status="404"} 1.0',
        'tenfold_http_requests_total{path="control",status="400"} 1.0',
        'tenfold_http_requests_total{path="page",status="404"} 1.0',
        'tenfold_http_request_seconds_count{path="api"} 2.0',
        "tenfold_http_refused_total 2.0",
        "tenfold_http_connections 1.0",
        'tenfold_stream_clients{by="ws"} 0.0',
    ):
        assert line in text.splitlines()


async def test_a_client_that_did_not_wait() -> None:
    """A client that goes is no error of the server; a handler that fails is."""
    requests = operating.Requests()
    waiting: Deferred[Response] = Deferred()

    async def handler(request: Request) -> Response:
        if request.path == "/config":
            raise RuntimeError("it failed")
        return await waiting

    asked = ensureDeferred(requests.count(handler, Request("GET", "/api/v2/builds")))
    asked.cancel()
    with pytest.raises(CancelledError):
        await asked
    with pytest.raises(RuntimeError):
        await requests.count(handler, Request("GET", "/config"))
    counted = {family.name: family.values for family in requests.metrics()}
    assert counted["http_requests"] == {("api", "closed"): 1, ("page", "500"): 1}


async def test_counts_of_two_masters(master: FakeMaster) -> None:
    """A server's metrics do not count another server's events, and an ended connection is not counted as open."""
    async with serving(master) as (_, port):
        await raw(port, request("GET", "/config"))
        async with serving(master):
            pass
        assert len([family for family in await master.metrics.families() if family.name == "http_requests"]) == 1
    assert not [family for family in await master.metrics.families() if family.name == "http_requests"]


async def test_users_who_may_read_metrics(master: FakeMaster) -> None:
    """Metrics follow the rules of reading; probes are open to all."""
    rules = Authz(allowRules=[endpointmatchers.AnyEndpointMatcher(role="admins")])
    async with serving(master, authz=rules) as (_, port):
        assert parse(await raw(port, request("GET", "/metrics")))[0] == 403
        assert parse(await raw(port, request("GET", "/api/v2/openapi.json")))[0] == 403
        for path in ("/health", "/ready"):
            assert (await get(port, path))[0] == 200


async def test_ready(master: FakeMaster) -> None:
    """A master that can do its work says so."""
    async with serving(master) as (_, port):
        assert (await get(port, "/health"))[::2] == (200, {"healthy": True})
        assert (await get(port, "/ready"))[::2] == (200, {"ready": True, "reason": None})


async def not_ready(master: FakeMaster) -> str:
    async with serving(master) as (_, port):
        status, headers, body = await get(port, "/ready")
        assert (await get(port, "/health"))[0] == 200
    assert (status, body["ready"], headers["cache-control"]) == (503, False, "no-store")
    return str(body["reason"])


async def test_not_active(master: FakeMaster) -> None:
    """A master that others declared dead, or that ends, is not ready."""
    await master.data.update.masterStopped()
    assert "not active" in await not_ready(master)


async def test_late(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A master whose heartbeat does not come through is not ready, even if the database still has it as active."""
    monkeypatch.setattr(master, "is_late", lambda: True)
    assert "not been able to check in" in await not_ready(master)


async def test_old_schema(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that another version has upgraded is not this one's."""
    monkeypatch.setattr(master.db.model, "is_current", lambda: succeed(False))
    assert "schema" in await not_ready(master)


async def test_broken_database(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's error message is not in the answer."""

    async def fails() -> int:
        raise OSError("password authentication failed for user root")

    monkeypatch.setattr(master.mq, "behind", fails)
    assert await not_ready(master) == "the database cannot be read"


async def test_full_disk(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed write the master is not ready until a write succeeds; the answer does not have the database's
    path.
    """
    monkeypatch.setattr(master.db.pool.groups, "unwritable", "the disk of the database /srv/x is full")
    assert await not_ready(master) == "the database cannot be written"
    await master.data.update.addChange()
    async with serving(master) as (_, port):
        assert (await get(port, "/ready"))[0] == 200


async def test_silent_database(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes after a moment also if the database does not answer; all requests wait for the same look."""
    asked: list[Deferred[bool]] = []

    def is_current() -> Deferred[bool]:
        asked.append(Deferred())
        return asked[-1]

    monkeypatch.setattr(operating, "WAIT_S", 0.05)
    monkeypatch.setattr(master.db.model, "is_current", is_current)
    async with serving(master) as (_, port):
        for _ in range(3):
            status, _, body = await get(port, "/ready")
            assert (status, body["reason"]) == (503, "the database has not answered for 0.05 s")
        assert len(asked) == 1
        asked[0].callback(True)
        assert (await get(port, "/ready"))[0] == 200


async def test_events_that_wait(master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A master that does not deliver the events of the log is not ready, also if it answers."""
    master.mq.tail.stop()
    await master.data.update.addChange()
    monkeypatch.setattr(master.db.pool.groups.clock, "now", lambda now=time.time: int(now()) + 60)
    assert json.dumps(await not_ready(master)).startswith('"events have been waiting')
