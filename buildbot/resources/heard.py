"""The conditions on the events of the resources at a path, from the nouns' declarations.

An event's message is its resource, so it tells whether the resource is at a path: a build at ``masters/3/builds`` has
the masterid 3. A path may name an owner by something that the message does not have: a step at
``builders/linux/builds/7/steps`` has a buildid, but no builder and no number. Then the owners' events give the ids. An
event may have an *aside*, with attributes that the message does not have: the earlier place of its resource.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Column
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, ColumnElement

from buildbot.resources.base import Among, Attribute, Condition, Either, Element, Equals, Every, Known, Path, Resource


def parts_of(condition: Condition) -> Iterator[Equals | Element | Among | Known]:
    """The parts of a condition, except the conditions on other resources."""
    if isinstance(condition, Every | Either):
        for part in condition.parts:
            yield from parts_of(part)
    else:
        yield condition


def variables_in(condition: Condition) -> Iterator[str]:
    """The variables in a condition."""
    for part in parts_of(condition):
        if isinstance(part, Equals):
            yield part.variable
        elif isinstance(part, Element):
            yield from part.variables
        elif isinstance(part, Among):
            yield from variables_in(part.condition)


def condition_of(resource: Resource, path: Path, resources: Mapping[str, Resource]) -> Condition | None:
    """The condition that a noun's message is about a resource at a path; None if the declarations do not tell.

    A variable that is a field, or that the path's condition sets equal to one, is that field's value. The other
    variables are in the path's condition (``hears``), or name an owner: the longest beginning of the path that is a
    path of another noun to which a field of this one refers.
    """
    columns = {_column(field): name for name, field in resource.fields.items()}
    equal = {variable: columns[column] for column, variable in _equalities(path.where) if column in columns}
    equal.update({name: name for name in path.variables if name not in path.bound})
    parts: list[Condition] = [] if path.hears is None else [path.hears]
    said = set() if path.hears is None else set(variables_in(path.hears))
    parts += [Equals(field, variable) for variable, field in equal.items() if variable not in said]
    left = set(path.variables) - set(equal)
    if left and path.hears is None:
        owner = _owner(resource, path, left, resources)
        if owner is None:
            return None
        parts.append(owner)
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _owner(resource: Resource, path: Path, left: set[str], resources: Mapping[str, Resource]) -> Among | None:
    """The condition that a resource belongs to the owner at the beginning of its path."""
    parts = path.parts
    for length in range(len(parts) - 1, 0, -1):
        pattern = "/".join(parts[:length])
        for other in resources.values():
            for place in other.paths:
                if place.pattern != pattern or not place.is_single or not left <= set(place.variables):
                    continue
                field = _reference(resource, other)
                condition = condition_of(other, place, resources)
                if field is not None and condition is not None:
                    return Among(field, other.plural, other.key, condition, single=True)
    return None


def _reference(resource: Resource, other: Resource) -> str | None:
    """The field of a noun that refers to the key of another noun."""
    for name, field in resource.fields.items():
        column = _column(field)
        if column is not None and any(key.column.table is other.table for key in column.foreign_keys):
            return name
    return None


def _column(field: Attribute) -> Column[Any] | None:
    """The column of a field; None if it is computed."""
    column = getattr(field, "expr", None)
    return column if isinstance(column, Column) else None


def _equalities(where: ColumnElement[bool] | None) -> Iterator[tuple[Column[Any], str]]:
    """The columns that a condition sets equal to variables."""
    if isinstance(where, BooleanClauseList) and where.operator is operators.and_:
        for part in where.clauses:
            yield from _equalities(part)
    elif (
        isinstance(where, BinaryExpression)
        and where.operator is operators.eq
        and isinstance(where.left, Column)
        and isinstance(where.right, BindParameter)
    ):
        yield where.left, where.right.key
