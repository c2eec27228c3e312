"""``/api/v2/openapi.json`` (issue: generated from the declarations, valid, complete)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from buildbot.data.control import ACTIONS
from buildbot.db.engine.query import OPERATORS
from buildbot.resources import RESOURCES
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.www.api.openapi import OpenApi, document
from buildbot.www.http.messages import Request
from buildbot.www.settings import make_settings

SETTINGS = make_settings({"rest_max_limit": 77}, "https://ci.example/bb")


@pytest.fixture
def described(master: FakeMaster) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(document(master.data.endpoints(), SETTINGS)))
    return made


def resolved(described: dict[str, Any], reference: str) -> Any:
    found: Any = described
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def parameters(described: dict[str, Any], path: str) -> dict[str, Any]:
    given = [resolved(described, each["$ref"]) for each in described["paths"][path]["get"]["parameters"]]
    assert len({each["name"] for each in given}) == len(given), path
    return {each["name"]: each["schema"] for each in given}


def test_it_is_valid(described: dict[str, Any]) -> None:
    """The document keeps to the meta-schema of OpenAPI 3.1, its schemas to JSON Schema 2020-12."""
    OpenAPIV31SpecValidator(described).validate()


def test_every_path(master: FakeMaster, described: dict[str, Any]) -> None:
    """Every path of the Data API is there, one that may begin with an id or a name once."""
    templates = [path.removeprefix("/api/v2").strip("/").split("/") for path in described["paths"]]
    for endpoint in master.data.endpoints():
        parts = endpoint.path.pattern.split("/")
        assert any(
            len(parts) == len(template)
            and all(a == b if ":" not in a else a.split(":")[1] in b for a, b in zip(parts, template, strict=True))
            for template in templates
        ), endpoint.path.pattern
    assert "/api/v2/builders/{builderid_or_buildername}/builds" in described["paths"]


def test_every_field(described: dict[str, Any]) -> None:
    """Every noun's schema has its attributes, each with its meaning, and those that ``expand`` may add."""
    for resource in RESOURCES:
        schema = described["components"]["schemas"][resource.name]
        assert set(resource.fields) <= set(schema["properties"])
        assert all(each["description"] for each in schema["properties"].values())
    build = described["components"]["schemas"]["build"]["properties"]
    assert build["workerid"]["type"] == ["integer", "null"]
    assert build["number"]["type"] == "integer"
    assert build["steps"]["items"] == {"$ref": "#/components/schemas/step"}


def test_filters(described: dict[str, Any]) -> None:
    """A collection takes its fields as filters, with those operators that make sense for their kind."""
    builds = parameters(described, "/api/v2/builds")
    assert {f"results__{name}" for name in OPERATORS if name not in ("eq", "contains")} < set(builds)
    assert "results" in builds and "results__contains" not in builds
    assert "state_string__contains" in builds
    assert not [name for name in builds if name.startswith("properties")]
    assert (builds["limit"]["maximum"], builds["limit"]["default"]) == (77, 77)
    assert {"order", "offset", "field", "expand", "property"} < set(builds)
    assert "limit" not in parameters(described, "/api/v2/builds/{buildid}")
    assert parameters(described, "/api/v2/logs/{logid}/contents").keys() == {"limit", "offset", "If-None-Match"}


def test_actions(described: dict[str, Any]) -> None:
    """Every action is a POST of the resources that have it, with its arguments."""
    found: dict[str, Any] = {}
    for path, item in described["paths"].items():
        if "post" in item:
            body = item["post"]["requestBody"]["content"]["application/json"]["schema"]
            found |= {f"{item['post']['tags'][0]} {each['title']}": each for each in body["oneOf"]}
            assert path.endswith("}")
    assert set(found) == {f"{action.plural} {action.name}" for action in ACTIONS}
    assert found["buildrequests set_priority"]["properties"]["params"]["required"] == ["priority"]


async def test_serving(master: FakeMaster) -> None:
    """It is made once, names the server's own URL, and has a validator for conditional requests."""
    openapi = OpenApi(master.data, SETTINGS)
    response = openapi.handle(Request("GET", "/api/v2/openapi.json"))
    assert (response.status, response.header("content-type")) == (200, "application/json")
    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["servers"] == [{"url": "https://ci.example/bb"}]
    again = Request("GET", "/", headers={"if-none-match": response.header("etag") or ""})
    assert openapi.handle(again).status == 304
