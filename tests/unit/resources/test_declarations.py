"""Nouns are declared once, and a wrong declaration is an error at import."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from sqlalchemy import JSON, Column, select
from sqlalchemy import bindparam as bound

from buildbot.resources import BY_PLURAL, RESOURCES, check_builds
from buildbot.resources.base import DeclarationError, Field, LinkTo, Path, Related, Resource
from buildbot.resources.builds import BUILD, builds


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "nothing"},
        {"events": ("builds/{nothing}",)},
        {"links": {"x": LinkTo("builds/{nothing}")}},
        {"paths": (Path("x/n:nothing"),)},
        {"paths": (Path("x/n:nothing", where=builds.c.id == bound("other")),)},
        {"order": ("-nothing",)},
        {"events": (), "event_names": (), "announced": True},
        {"made": "nothing"},
        {"fields": {**BUILD.fields, "x": Field(Column("x", JSON), "no kind")}},
        {"fields": {**BUILD.fields, "x": Related(select(builds.c.id), "values", "selects nothing")}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong(wrong: dict[str, Any]) -> None:
    """A routing key that names no field, a path that is not bound, … fails at import."""
    with pytest.raises(DeclarationError):
        replace(BUILD, **wrong)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_declared(resource: Resource) -> None:
    """Each field has a kind and a sentence; each event is a past or a change; paths begin with a plural."""
    for name, field in resource.fields.items():
        assert field.doc, name
        assert resource.kind(name) in ("int", "str", "bool", "time", "json", "list")
    plurals = {other.plural for other in RESOURCES}
    assert all(path.parts[0] in plurals for path in resource.paths)
    assert bool(resource.events) == bool(resource.event_names)


@pytest.mark.parametrize(
    ("plural", "wrong", "words"),
    [
        ("steps", {"build_by": None}, "step: 'buildid' is the key of a build; build_by must say so"),
        ("logs", {"build_by": None}, "log: 'stepid' is the key of a step; build_by must say so"),
        ("changes", {"build_by": "buildid"}, "change: 'buildid' is no field of it that leads to a build"),
        ("logs", {"build_by": "logid2"}, "log: 'logid2' is no field of it that leads to a build"),
    ],
)
def test_what_belongs_to_builds_says_so(plural: str, wrong: dict[str, Any], words: str) -> None:
    """A noun with the key of a build, or of a noun that belongs to builds, needs ``build_by``."""
    changed = [replace(each, **wrong) if each.plural == plural else each for each in RESOURCES]
    with pytest.raises(DeclarationError, match=words):
        check_builds(changed)
    check_builds(RESOURCES)


def test_announced_is_said() -> None:
    """A noun that says nothing of whether all its changes are announced cannot be declared."""
    given = {name: getattr(BUILD, name) for name in ("table", "key", "doc", "entity", "fields", "paths")}
    with pytest.raises(TypeError, match="announced"):
        Resource("x", "xs", **given)


def test_what_filters_compare() -> None:
    """Filters compare a list with its elements: numbers where these are numbers, whatever the field is called."""
    assert [BY_PLURAL["builders"].compared(name) for name in ("masterids", "tags", "name")] == ["int", "str", "str"]
    assert [BY_PLURAL["changes"].compared(name) for name in ("parent_changeids", "files")] == ["int", "str"]


#: what the values of each kind are in Python
KINDS: dict[str, set[Any]] = {
    "int": {int},
    "time": {int},
    "str": {str},
    "bool": {bool},
    "list": {list},
    "json": {dict, list},
}


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_dictionary_type(resource: Resource) -> None:
    """The type of a noun's dictionaries has the declared attributes, in their order, with their kinds."""
    types = get_type_hints(resource.entity)
    assert list(types) == list(resource.fields)
    for name, attribute in resource.fields.items():
        alternatives = get_args(types[name]) if isinstance(types[name], UnionType) else (types[name],)
        kinds = {get_origin(one) or (dict if is_typeddict(one) else one) for one in alternatives}
        # a noun that is only some rows of its table may have no None where others do
        if isinstance(attribute, Field) and resource.where is None:
            assert (NoneType in kinds) == attribute.nullable, name
        assert kinds - {NoneType} <= KINDS[resource.kind(name)], name


@pytest.mark.parametrize("resource", [r for r in RESOURCES if r.db_entity], ids=lambda resource: resource.name)
def test_connector_dictionary_type(resource: Resource) -> None:
    """The type of the connector's dictionaries has fields under the names that are declared for it."""
    types = get_type_hints(resource.db_entity)
    for name, attribute in resource.fields.items():
        if isinstance(attribute, Field) and attribute.db_key is not None:
            assert attribute.db_key in types, name
        if not isinstance(attribute, Field) or (attribute.db_key or name) not in types:
            continue
        kind = resource.kind(name)
        found = types[attribute.db_key or name]
        alternatives = get_args(found) if isinstance(found, UnionType) else (found,)
        kinds = {get_origin(one) or one for one in alternatives}
        assert (NoneType in kinds) == attribute.nullable, name
        assert kinds - {NoneType} <= ({datetime} if kind == "time" else KINDS[kind]), name


def test_hidden_columns() -> None:
    """What helps storage only (hashes, epochs) is no field."""
    public = {name for resource in RESOURCES for name in resource.fields}
    assert not [name for name in public if name.endswith("_hash") or "epoch" in name]
