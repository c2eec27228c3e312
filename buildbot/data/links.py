"""Links of resources, and what stands in their place after ``expand``: one statement per named level."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy.engine import Connection

from buildbot.data.base import Link
from buildbot.data.exceptions import InvalidOptionError
from buildbot.db.dialects.expressions import IdIn
from buildbot.db.rows import Entity, reader_of
from buildbot.db.statements import Statement
from buildbot.resources import RESOURCES
from buildbot.resources.base import Field, LinkTo, Path, Resource

_BY_PLURAL = {resource.plural: resource for resource in RESOURCES}
_FIELD = re.compile(r"{(\w+)}")


def add_links(resource: Resource, entities: Iterable[Entity]) -> None:
    """Put a ``Link`` under the name of each of the noun's links; None where it points to nothing."""
    makers = _makers(resource)
    for entity in entities:
        for name, parts, fields in makers:
            path = parts.copy()
            for place, field in fields:
                value = entity[field]
                if value is None:
                    entity[name] = None
                    break
                path[place] = str(value)
            else:
                entity[name] = Link(path)


def needed_fields(resource: Resource) -> set[str]:
    """Attributes that the noun's links are made of."""
    return {field for link in resource.links.values() for field in _FIELD.findall(link.path)}


def expand(conn: Connection, resource: Resource, entities: Sequence[Entity], names: Sequence[str]) -> None:
    """Replace the named links by what they point to; a name may be dotted, to go on from there.

    Raises:
        InvalidOptionError: there is no such link.
    """
    levels: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition(".")
        levels.setdefault(first, [])
        if rest:
            levels[first].append(rest)
    for name, rest_names in levels.items():
        link = resource.links.get(name)
        if link is None:
            known = ", ".join(resource.links) or "none"
            raise InvalidOptionError(f"expand: {resource.name} has no link {name!r}; there are {known}")
        target, found = _follow(conn, link, entities, name)
        add_links(target, found)
        if rest_names:
            expand(conn, target, found, rest_names)


@cache
def _makers(resource: Resource) -> list[tuple[str, list[str], list[tuple[int, str]]]]:
    """For each link its name, the segments of its path, and which of them are fields of the noun."""
    makers = []
    for name, link in resource.links.items():
        if name not in resource.fields:
            parts = link.path.split("/")
            fields = [(place, match[1]) for place, part in enumerate(parts) if (match := _FIELD.fullmatch(part))]
            makers.append((name, parts, fields))
    return makers


def _follow(conn: Connection, link: LinkTo, entities: Sequence[Entity], name: str) -> tuple[Resource, list[Entity]]:
    parts = link.path.split("/")
    match = _FIELD.fullmatch(parts[1])
    assert match is not None
    field = match[1]
    ids = sorted({entity[field] for entity in entities if entity[field] is not None})
    if len(parts) == 2:
        target = _BY_PLURAL[parts[0]]
        by_id = reader_of(target).by_ids(conn, ids) if ids else {}
        for entity in entities:
            entity[name] = by_id.get(entity[field])
        return target, list(by_id.values())
    target = _BY_PLURAL[parts[2]]
    key = _parent_field(target, parts)
    grouped: dict[Any, list[Entity]] = {}
    children = _children(conn, target, key, ids) if ids else []
    for child in children:
        grouped.setdefault(child[key], []).append(child)
    for entity in entities:
        entity[name] = grouped.get(entity[field], [])
    return target, children


def _parent_field(target: Resource, parts: Sequence[str]) -> str:
    path: Path
    for path in target.paths:
        if len(path.parts) == 3 and path.parts[0] == parts[0] and path.parts[2] == parts[2]:
            variable = next(iter(path.variables))
            if path.where is None and isinstance(target.fields.get(variable), Field):
                return variable
    raise InvalidOptionError(f"expand: {'/'.join(parts)} cannot be expanded")


_statements: dict[tuple[str, str], Statement] = {}


def _children(conn: Connection, target: Resource, key: str, ids: list[int]) -> list[Entity]:
    reader = reader_of(target)
    statement = _statements.get((target.name, key))
    if statement is None:
        field = target.fields[key]
        assert isinstance(field, Field)
        order = [f.expr for n in target.order if isinstance(f := target.fields[n.lstrip("-")], Field)]
        statement = Statement(reader.select().where(IdIn(field.expr)).order_by(*order))
        _statements[target.name, key] = statement
    return reader.entities(conn, statement.all(conn, ids=ids))
