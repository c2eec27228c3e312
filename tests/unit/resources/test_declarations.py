"""Nouns are declared once, and a wrong declaration does not import."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from sqlalchemy import JSON, Column, select
from sqlalchemy import bindparam as bound

from buildbot.resources import RESOURCES
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
