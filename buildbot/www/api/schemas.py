"""JSON Schemas of the API's resources, made from the declarations of the nouns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, get_type_hints

from sqlalchemy import Column, ColumnElement

from buildbot.data.links import target_of
from buildbot.resources.base import Attribute, Field, Kind, LinkTo, Related, Resource, kind_of

Schema = dict[str, Any]

#: the largest integer that every database can hold, and that paths and filters take
INTEGER: Schema = {"type": "integer", "minimum": -(2**63) + 1, "maximum": 2**63 - 1}
ANY: Schema = {}
_OF_KIND: Mapping[Kind, Schema] = {
    "int": {"type": "integer"},
    "time": {"type": "integer", "description": "seconds since 1970-01-01 UTC"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "json": ANY,
    "list": {"type": "array", "items": ANY},
}
#: ``{name: [value, source]}``
PROPERTIES: Schema = {
    "type": "object",
    "additionalProperties": {
        "type": "array",
        "description": "the value, any JSON, and the name of its source",
        "minItems": 2,
        "maxItems": 2,
    },
}


def of_kind(kind: Kind) -> Schema:
    """The schema of values of a kind."""
    return _OF_KIND[kind]


def nullable(schema: Schema) -> Schema:
    """A schema that allows null, too."""
    if not schema:
        return schema
    kind = schema.get("type")
    return {**schema, "type": [kind, "null"]} if isinstance(kind, str) else {"anyOf": [schema, {"type": "null"}]}


def noun(resource: Resource, reference: Callable[[Resource], Schema]) -> Schema:
    """A noun as it is in replies: its attributes, and what ``expand`` puts beside them.

    None is required, since ``field`` may leave out any. ``reference``: gives the schema of another noun.
    """
    hints = get_type_hints(resource.entity)
    properties = {
        name: {**_attribute(attribute, hints[name]), "description": attribute.doc}
        for name, attribute in resource.fields.items()
    }
    for name, link in resource.links.items():
        target = target_of(link)
        if target is not None and name not in properties:
            properties[name] = {**_linked(link, reference(target)), "description": f"only with expand={name}"}
    return {"type": "object", "description": resource.doc, "properties": properties, "additionalProperties": False}


def plain(fields: Mapping[str, Kind], optional: Iterable[str] = ()) -> Schema:
    """Something that is no noun; its attributes are all there, and those that are ``optional`` may be null."""
    properties = {name: nullable(of_kind(k)) if name in optional else of_kind(k) for name, k in fields.items()}
    return {"type": "object", "properties": properties, "required": sorted(fields), "additionalProperties": False}


def _attribute(attribute: Attribute, python: Any) -> Schema:
    if isinstance(attribute, Field):
        schema = _value(attribute.value_kind, python)
        return nullable(schema) if attribute.nullable else schema
    if isinstance(attribute, Related):
        if attribute.shape == "properties":
            return nullable(PROPERTIES) if attribute.on_request and attribute.default is None else PROPERTIES
        columns = list(attribute.statement.selected_columns)[1:]
        items = _value(kind_of(columns[0])) if attribute.shape == "values" else _object(columns)
        return {"type": "array", "items": items}
    return nullable(_object(attribute.columns))


def _value(kind: Kind, python: Any = None) -> Schema:
    if kind == "list" and get_args(python):
        element = get_args(python)[0]
        return {"type": "array", "items": {int: of_kind("int"), str: of_kind("str")}.get(element, ANY)}
    return of_kind(kind)


def _object(columns: Iterable[ColumnElement[Any]]) -> Schema:
    """An object by labels, of which ``a__b`` nests; a nest may be null."""
    properties: dict[str, Schema] = {}
    for column in columns:
        nest, _, name = str(column.key).rpartition("__")
        within = properties
        if nest:
            nested = properties.setdefault(nest, nullable({"type": "object", "properties": {}}))
            within = nested["properties"]
        schema = _value(kind_of(column))
        source = getattr(column, "element", column)
        is_own = isinstance(source, Column) and not source.nullable
        within[name] = schema if is_own else nullable(schema)
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _linked(link: LinkTo, target: Schema) -> Schema:
    return nullable(target) if link.path.count("/") == 1 else {"type": "array", "items": target}
