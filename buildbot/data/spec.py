"""The description of a path in ``application.spec``: its type, and the types of its attributes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args, get_type_hints

from sqlalchemy import ColumnElement

from buildbot.resources.base import Attribute, Embedded, Field, Kind, Related, Resource, kind_of

_TYPES: dict[Kind, str] = {
    "int": "integer",
    "str": "string",
    "bool": "boolean",
    "time": "datetime",
    "json": "jsonobject",
    "list": "list",
}
_ELEMENTS = {int: "integer", str: "string"}


def described(resource: Resource) -> list[dict[str, Any]]:
    """The attributes of a noun: name, type, and the parts of the type."""
    types = get_type_hints(resource.entity)
    return [_field(name, attribute, resource.kind(name), types[name]) for name, attribute in resource.fields.items()]


def plain(name: str, kind: Kind, python: Any = None) -> dict[str, Any]:
    """An attribute of something that is no noun; ``python``: the type of its values, with the elements of lists."""
    return {"name": name, "type": _TYPES[kind], "type_spec": _plain_type(kind, python)}


def _field(name: str, attribute: Attribute, kind: Kind, python: Any) -> dict[str, Any]:
    if isinstance(attribute, Field):
        if attribute.nullable:
            spec = {**_plain_type(kind, python), "can_be_null": True}
            return {"name": name, "type": f"{_TYPES[kind]} or None", "type_spec": spec}
        return plain(name, kind, python)
    if isinstance(attribute, Embedded):
        return {"name": name, "type": name, "type_spec": {"type": name, "fields": _columns(attribute.columns)}}
    return {"name": name, **_related(attribute)}


def _related(attribute: Related) -> dict[str, Any]:
    if attribute.shape == "properties":
        return {"type": "sourcedproperties", "type_spec": {"name": "sourcedproperties"}}
    columns = list(attribute.statement.selected_columns)[1:]
    if attribute.shape == "values":
        of: dict[str, Any] = _plain_type(kind_of(columns[0]))
    else:
        of = {"fields": _columns(columns)}
    return {"type": "list", "type_spec": {"type": "list", "of": of}}


def _columns(columns: Iterable[ColumnElement[Any]]) -> list[dict[str, Any]]:
    """Attributes by labels; a label ``a__b`` is the attribute ``b`` inside ``a``."""
    found: list[dict[str, Any]] = []
    nests: dict[str, list[dict[str, Any]]] = {}
    for column in columns:
        nest, _, name = str(column.key).rpartition("__")
        if nest and nest not in nests:
            nests[nest] = []
            found.append({"name": nest, "type": nest, "type_spec": {"type": nest, "fields": nests[nest]}})
        (nests[nest] if nest else found).append(plain(name, kind_of(column)))
    return found


def _plain_type(kind: Kind, python: Any = None) -> dict[str, Any]:
    if kind == "list":
        element = next(iter(get_args(python)), str)
        return {"type": "list", "of": {"name": _ELEMENTS.get(element, "jsonobject")}}
    return {"name": _TYPES[kind]}
