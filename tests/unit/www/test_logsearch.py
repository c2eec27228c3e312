"""Searching in logs over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildbot.db import logs
from buildbot.www.api import logsearch
from buildbot.www.api.rest import RestApi
from buildbot.www.http.messages import Request
from buildbot.www.settings import make_settings
from tests.support.building import run_build

LINES = "".join(f"oline {number} {'Föö' if number % 10 == 0 else 'bar'}\n" for number in range(50_000))


async def get(master: Any, url: str) -> tuple[int, Any]:
    """Status and body of the reply to a GET."""
    api = RestApi(master.data, make_settings({"port": 8010}, "http://ci.example:8010"))
    path, _, query = url.partition("?")
    response = await api.handle(Request("GET", path, query, {}), tuple(path.split("/")))
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body)


async def test_search(master: Any) -> None:
    """Lines are found in order; ``next`` leads on to the rest, and is null at the end."""
    running = await run_build(master, lines=LINES)
    url = f"logs/{running.logid}/search?text=f%C3%B6%C3%B6&limit=1000"
    numbers: list[int] = []
    after: str | None = ""
    while after is not None:
        status, found = await get(master, f"{url}&after={after}" if after else url)
        assert status == 200
        numbers += [match["line"] for match in found["logmatches"]]
        after = found["meta"]["next"]
    assert numbers == list(range(0, 50_000, 10))
    _, found = await get(master, f"logs/{running.logid}/search?text=LINE+49999")
    assert found["logmatches"] == [{"line": 49_999, "text": "line 49999 bar"}]
    assert found["meta"]["next"] is None


async def test_takes_a_bounded_time(master: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that takes too long is cut. The next request goes on where this one ended, and every request makes
    progress.
    """
    monkeypatch.setattr(logsearch, "SECONDS", 0)
    monkeypatch.setattr(logs, "DOWNLOAD_CHUNKS", 1)
    running = await run_build(master, lines=LINES)
    places: list[Any] = [-1]
    while places[-1] is not None:
        status, found = await get(master, f"logs/{running.logid}/search?text=nowhere&after={places[-1]}")
        assert (status, found["logmatches"]) == (200, [])
        places.append(found["meta"]["next"])
    assert len(places) > 4 and places[:-1] == sorted(set(places[:-1]))


async def test_shows_the_middle_of_long_lines(master: Any) -> None:
    """Of a line of a megabyte the answer has a part."""
    running = await run_build(master, lines=f"o{'x' * 1_000_000}needle{'ü' * 500_000}\n")
    _, found = await get(master, f"logs/{running.logid}/search?text=needle")
    (match,) = found["logmatches"]
    assert match["text"].startswith("x" * 40 + "needleü") and len(match["text"]) <= 400


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("logs/{}/search", 400, "text must be one line of 1 to 500 characters"),
        ("logs/{}/search?text=", 400, "text must be one line of 1 to 500 characters"),
        ("logs/{}/search?text=a%0Ab", 400, "text must be one line of 1 to 500 characters"),
        ("logs/{}/search?text=" + "x" * 501, 400, "text must be one line of 1 to 500 characters"),
        ("logs/{}/search?text=a&limit=0", 400, "limit must be a number from 1 to 1000"),
        ("logs/{}/search?text=a&limit=1001", 400, "limit must be a number from 1 to 1000"),
        ("logs/{}/search?text=a&after=x", 400, "after must be a number from -1 to 2147483647"),
        ("logs/{}/search?text=a&after=--1", 400, "after must be a number from -1 to 2147483647"),
        ("logs/{}/search?text=a&foo=1", 400, "unrecognized query parameter 'foo'"),
        ("logs/{}/search?text=a&text=b", 400, "text is given twice"),
        ("logs/99/search?text=a", 404, "not found: logs/99/search"),
        ("logs/x/search?text=a", 404, "Invalid path: logs/x"),
    ],
)
async def test_refused(master: Any, url: str, status: int, said: str) -> None:
    """The error names the missing, wrong or unknown parameter."""
    running = await run_build(master, lines="oa\n")
    assert await get(master, url.format(running.logid)) == (status, {"error": said})
