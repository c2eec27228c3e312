"""The running server keeps to its OpenAPI document, as schemathesis sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.farm import Master, operations, running_master

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    with running_master(tmp_path_factory.mktemp("openapi"), "sqlite") as master:
        yield master


def test_every_operation(running: Master) -> None:
    """Each answer has a declared status, type, headers and shape, for all valid parameters."""
    chosen = operations(running.described())
    assert len(chosen) > 100
    statuses: dict[str, set[int]] = {each.label: set() for each in chosen}
    for operation in chosen:
        _check(running, operation, statuses[operation.label])
    answered = [label for label, seen in statuses.items() if 200 in seen]
    assert len(answered) > 0.7 * len(statuses), sorted(set(statuses) - set(answered))


def _check(running: Master, operation: Any, statuses: set[int]) -> None:
    @settings(
        max_examples=3,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    @given(operation.as_strategy())
    def keeps_to_it(case: Any) -> None:
        # A filter or two find something; a hundred at once never do.
        case.query = dict(list((case.query or {}).items())[:2])
        headers = {"Accept": "application/json"}
        base_url = f"http://127.0.0.1:{running.port}"
        response = case.call_and_validate(base_url=base_url, headers=headers, checks=CHECKS, timeout=10)
        statuses.add(response.status_code)

    keeps_to_it()


PATHS = ("builds", "builds/1", "changes", "buildsets/1", "workers", "buildrequests", "steps/1/logs")


@pytest.mark.parametrize("path", PATHS)
def test_everything_that_is_declared(running: Master, path: str) -> None:
    """Without ``field`` a reply has every attribute that its noun declares, and nothing else."""
    document = running.described()
    status, body = running.get(f"/api/v2/{path}")
    assert status == 200
    (plural,) = set(json.loads(body)) - {"meta"}
    noun = next(
        item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["properties"][plural]["items"]["$ref"]
        for item_path, item in document["paths"].items()
        if item_path == f"/api/v2/{plural}" or item_path.endswith(f"/{plural}")
    ).rpartition("/")[2]
    properties = document["components"]["schemas"][noun]["properties"]
    declared = {name for name, each in properties.items() if not each["description"].startswith("only with expand")}
    for entity in json.loads(body)[plural]:
        assert set(entity) == declared
