"""Links of resources, and the resources that ``expand`` puts in their place: one statement per named level."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from buildbot.data.base import Link
from buildbot.data.exceptions import InvalidOptionError
from buildbot.db.dialects.expressions import IdIn
from buildbot.db.engine.rows import Entity, reader_of
from buildbot.db.engine.statements import Statement
from buildbot.resources import RESOURCES
from buildbot.resources.base import Field, LinkTo, Path, Resource

#: the limits of ``expand``: resources in one answer, and links after one another
MAX_EXPANDED = 50_000
MAX_DEPTH = 8

_BY_PLURAL = {resource.plural: resource for resource in RESOURCES}
_FIELD = re.compile(r"{(\w+)}")


def add_links(resource: Resource, entities: Iterable[Entity]) -> None:
    """Add a ``Link`` under the name of each of the noun's links; None where it points to nothing."""
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
    """The attributes that the paths of the noun's links are made of."""
    return {field for link in resource.links.values() for field in _FIELD.findall(link.path)}


def expand(
    conn: Connection, resource: Resource, entities: Sequence[Entity], names: Sequence[str], linked: bool = True
) -> None:
    """Replace the named links by the linked resources; a dotted name goes on with a link of these.

    Without ``linked`` the linked resources have only the links that are named.

    Raises:
        InvalidOptionError: there is no such link, or the answer would be too large.
    """
    if any(name.count(".") >= MAX_DEPTH for name in names):
        raise InvalidOptionError(f"expand: more than {MAX_DEPTH} links after one another")
    _expand(conn, resource, entities, names, linked)


def target_of(link: LinkTo) -> Resource | None:
    """The noun that a link points to; None if it points to no noun."""
    parts = link.path.split("/")
    if len(parts) == 2:
        return _BY_PLURAL.get(parts[0])
    return next((resource for resource in RESOURCES for path in resource.paths if _leads_to(path, parts)), None)


def _leads_to(path: Path, parts: Sequence[str]) -> bool:
    return len(path.parts) == 3 and (path.parts[0], path.parts[2]) == (parts[0], parts[2])


def _expand(
    conn: Connection, resource: Resource, entities: Sequence[Entity], names: Sequence[str], linked: bool
) -> dict[int, int]:
    """The number of resources that each entity consists of now, by ``id``.

    One row can appear under many parents; the limit counts appearances.
    """
    weights = {id(entity): 1 for entity in entities}
    levels: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition(".")
        levels.setdefault(first, [])
        if rest:
            levels[first].append(rest)
    for name, rest_names in levels.items():
        link = resource.links.get(name)
        target = None if link is None else target_of(link)
        if link is None or target is None:
            known = ", ".join(each for each, to in resource.links.items() if target_of(to) is not None) or "none"
            raise InvalidOptionError(f"expand: {resource.name} has no link {name!r}; there are {known}")
        found = _follow(conn, link, target, entities, name)
        if linked:
            add_links(target, found)
        below = _expand(conn, target, found, rest_names, linked)
        for entity in entities:
            within = entity[name]
            for one in within if isinstance(within, list) else (within,):
                weights[id(entity)] += 0 if one is None else below[id(one)]
        if sum(weights.values()) > MAX_EXPANDED:
            raise _too_much(name)
    return weights


def _too_much(name: str) -> InvalidOptionError:
    return InvalidOptionError(f"expand: {name!r} would give more than {MAX_EXPANDED} things; ask for fewer at a time")


@cache
def _makers(resource: Resource) -> list[tuple[str, list[str], list[tuple[int, str]]]]:
    """For each link its name, the segments of its path, and the segments that are fields of the noun."""
    makers = []
    for name, link in resource.links.items():
        if name not in resource.fields:
            parts = link.path.split("/")
            fields = [(place, match[1]) for place, part in enumerate(parts) if (match := _FIELD.fullmatch(part))]
            makers.append((name, parts, fields))
    return makers


def _follow(conn: Connection, link: LinkTo, target: Resource, entities: Sequence[Entity], name: str) -> list[Entity]:
    parts = link.path.split("/")
    match = _FIELD.fullmatch(parts[1])
    assert match is not None
    field = match[1]
    ids = sorted({entity[field] for entity in entities if entity[field] is not None})
    if len(parts) == 2:
        by_id = reader_of(target).by_ids(conn, ids) if ids else {}
        for entity in entities:
            entity[name] = by_id.get(entity[field])
        return list(by_id.values())
    key = _parent_field(target, parts)
    grouped: dict[Any, list[Entity]] = {}
    children = _children(conn, target, key, ids) if ids else []
    if len(children) > MAX_EXPANDED:
        raise _too_much(name)
    for child in children:
        grouped.setdefault(child[key], []).append(child)
    for entity in entities:
        entity[name] = grouped.get(entity[field], [])
    return children


def _parent_field(target: Resource, parts: Sequence[str]) -> str:
    for path in target.paths:
        if _leads_to(path, parts):
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
        statement = Statement(reader.select().where(IdIn(field.expr)).order_by(*order).limit(bindparam("most")))
        _statements[target.name, key] = statement
    return reader.entities(conn, statement.all(conn, ids=ids, most=MAX_EXPANDED + 1))
