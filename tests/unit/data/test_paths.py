"""Every path that existing clients know, and no type of another name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

LINES = Path(__file__).with_name("paths.txt").read_text().splitlines()
#: (kind, type, path); a variable without a type is a number (docs/compatibility.md)
KNOWN = [(kind, name, path[1:].replace("/:", "/n:")) for kind, name, path in map(str.split, LINES)]
KINDS = {"C": {"collection"}, "S": {"single", "lines"}, "R": {"raw"}, "RI": {"raw_inline"}}
VALUES = {"n": "7", "i": "a_name", "s": "any name at all"}


def filled(path: str) -> tuple[str, ...]:
    """The path with a value for each variable."""
    return tuple(VALUES[part[0]] if ":" in part else part for part in path.split("/") if part)


def test_fixture() -> None:
    """There are 138."""
    assert len(KNOWN) == len({path for *_, path in KNOWN}) == 138


@pytest.mark.parametrize(("kind", "name", "path"), KNOWN, ids=[path or "/" for *_, path in KNOWN])
def test_path(master: Any, kind: str, name: str, path: str) -> None:
    """It resolves to an endpoint of that kind and type, whose pattern is written in the same way."""
    endpoint = master.data.endpoint(filled(path))
    assert (endpoint.path.pattern, endpoint.name) == (path, name)
    assert endpoint.kind in KINDS[kind]
    assert endpoint.is_collection == (kind == "C")


async def test_spec(master: Any) -> None:
    """``application.spec`` lists each, by path, with its type, plural and the types of its attributes."""
    spec = await master.data.get({}, ("application.spec",))
    paths = [entry["path"] for entry in spec]
    assert paths == sorted(set(paths))
    by_path = {entry["path"]: entry for entry in spec}
    for _, name, path in KNOWN:
        entry = by_path[path]
        assert entry["type"] == name
        assert entry["plural"] == master.data.endpoint(filled(path)).plural
        assert entry["type_spec"].get("fields") or entry["type_spec"] == {"name": "sourcedproperties"}


async def test_spec_of_fields(master: Any) -> None:
    """Attributes have the types that existing clients know; those that may be null say so."""
    spec = {entry["path"]: entry["type_spec"] for entry in await master.data.get({}, ("application.spec",))}
    fields = {field["name"]: field for field in spec["builds/n:buildid"]["fields"]}
    assert fields["buildid"] == {"name": "buildid", "type": "integer", "type_spec": {"name": "integer"}}
    assert fields["results"]["type"] == "integer or None"
    assert fields["results"]["type_spec"] == {"name": "integer", "can_be_null": True}
    assert fields["started_at"]["type"] == "datetime"
    assert fields["complete"]["type"] == "boolean"
    assert fields["properties"]["type"] == "sourcedproperties"
    change = {field["name"]: field for field in spec["changes"]["fields"]}
    assert change["files"]["type_spec"] == {"type": "list", "of": {"name": "string"}}
    for name, of in (("to1", "integer"), ("common", None)):
        path = "codebases/n:codebaseid/commit_range/n:commitid1/n:commitid2/commits_common_parent"
        (field,) = [field for field in spec[path]["fields"] if field["name"] == name]
        assert field["type_spec"] == ({"type": "list", "of": {"name": of}} if of else {"name": "integer"})
    assert change["parent_changeids"]["type_spec"]["of"] == {"name": "integer"}
    stamp = {field["name"]: field for field in change["sourcestamp"]["type_spec"]["fields"]}
    assert {field["name"] for field in stamp["patch"]["type_spec"]["fields"]} >= {"patchid", "body"}
    builders = {field["name"]: field for field in spec["builders"]["fields"]}
    assert builders["masterids"]["type_spec"] == {"type": "list", "of": {"name": "integer"}}
    assert spec["builds/n:buildid/properties"] == {"name": "sourcedproperties"}
