"""Build data over HTTP, and the paths that the page's About view lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildbot.www.api.rest import RestApi
from buildbot.www.http.messages import Request, Response
from buildbot.www.settings import make_settings
from tests.support.building import add_build

VALUE = bytes(range(256))


async def get(master: Any, url: str) -> Response:
    """The reply of the state layer of ``master`` to a GET."""
    api = RestApi(master.data, make_settings({"port": 8010}, "http://ci.example:8010"))
    path, _, query = url.partition("?")
    request = Request("GET", path, query, {"accept": "application/json"})
    return await api.handle(request, tuple(path.split("/")))


async def test_download(master: Any) -> None:
    """Raw bytes under their name; a browser must not take them for anything else."""
    buildid, _ = await add_build(master)
    await master.data.update.setBuildData(buildid, "my.data", VALUE, "test")
    for url in (f"builds/{buildid}", "builders/1/builds/1", "builders/linux/builds/1"):
        response = await get(master, f"{url}/data/my.data/value")
        assert (response.status, response.body) == (200, VALUE)
        assert response.header("content-type") == "application/octet-stream; charset=utf-8"
        assert response.header("content-disposition") == "attachment; filename=my.data"
        assert response.header("x-content-type-options") == "nosniff"


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("builds/1/data/another/value", 404, "not found: builds/1/data/another/value"),
        ("builds/9/data/n/value", 404, "not found: builds/9/data/n/value"),
        ("builds/1/data/n/value?foo=1", 400, "unrecognized query parameter 'foo'"),
        ("builds/1/data/a b/value", 404, "Invalid path: builds/1/data/a b/value"),
        ("builds/1/data?value=1", 400, "invalid filter value for value"),
        ("logchunks", 404, "not found: logchunks"),
    ],
)
async def test_refused(master: Any, url: str, status: int, said: str) -> None:
    """The answer names missing data and invalid questions."""
    buildid, _ = await add_build(master)
    await master.data.update.setBuildData(buildid, "n", VALUE, "test")
    response = await get(master, url)
    assert isinstance(response.body, bytes)
    assert (response.status, json.loads(response.body)) == (status, {"error": said})


async def test_list(master: Any) -> None:
    """The list has the length and never the bytes."""
    buildid, _ = await add_build(master)
    await master.data.update.setBuildData(buildid, "n", VALUE, "test")
    response = await get(master, f"builds/{buildid}/data")
    assert isinstance(response.body, bytes)
    expected = {"buildid": buildid, "name": "n", "length": 256, "value": None, "source": "test"}
    assert json.loads(response.body)["build_data"] == [expected]


async def test_spec(master: Any) -> None:
    """The list of all paths can be had over HTTP."""
    response = await get(master, "application.spec")
    assert isinstance(response.body, bytes)
    specs = json.loads(response.body)["specs"]
    assert len(specs) >= 138
    assert {"path", "type", "plural", "type_spec"} == set(specs[0])
