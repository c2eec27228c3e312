"""Nouns are declared once, and a wrong declaration does not import (design, Layers)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
    plurals = {other.plural for other in RESOURCES} | {"projects", "codebases"}
    assert all(path.parts[0] in plurals for path in resource.paths)
    assert bool(resource.events) == bool(resource.event_names)


def test_hidden_columns() -> None:
    """What helps storage only (hashes, epochs) is no field."""
    public = {name for resource in RESOURCES for name in resource.fields}
    assert not [name for name in public if name.endswith("_hash") or "epoch" in name]
