"""The options of ``get``, checked once and made a `Query`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildbot.data.exceptions import InvalidOptionError
from buildbot.db.engine.query import OPERATORS, Condition, Query
from buildbot.resources.base import Attribute, Field, Kind, Related, Resource, kind_of
from buildbot.resources.types import ListText
from buildbot.util import checks

#: values of all filters together: SQLite takes some 32,000 in one statement, PostgreSQL twice as many
MAX_VALUES = 30_000
#: values of ``contains``: each is a comparison of its own, and PostgreSQL's memory for them grows by the square
MAX_PIECES = 500

OPTIONS = ("filters", "fields", "order", "limit", "offset", "expand", "properties")


def checked(options: Mapping[str, Any] | None, resource: Resource, is_collection: bool) -> Query:
    """The query that these options describe.

    Raises:
        InvalidOptionError: an option, field, operator or value is wrong; the text names it.
    """
    if options is None:
        return Query()
    if not isinstance(options, Mapping):
        raise InvalidOptionError(f"options must be a dictionary, not {type(options).__name__}")
    for name in options:
        if name not in OPTIONS:
            raise InvalidOptionError(f"unknown option {name!r}; there are {', '.join(OPTIONS)}")
    given = {name: value for name, value in options.items() if value is not None}
    if not is_collection:
        for name in ("filters", "order", "limit", "offset"):
            if given.get(name):
                raise InvalidOptionError(f"{name}: this is not a collection")
    fields = _fields(given.get("fields"), resource)
    order = _order(given.get("order", ()), resource)
    return Query(
        conditions=_conditions(given.get("filters", {}), resource),
        order=order,
        limit=_count(given.get("limit"), "limit"),
        offset=_count(given.get("offset"), "offset") or 0,
        fields=fields,
        properties=_names(given.get("properties"), "properties"),
        expand=_names(given.get("expand"), "expand") or (),
    )


def _names(value: Any, what: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str | bytes) or not isinstance(value, list | tuple):
        raise InvalidOptionError(f"{what} must be a list of text, not {value!r}")
    for name in value:
        if not isinstance(name, str):
            raise InvalidOptionError(f"{what}: {name!r} is not text")
    return tuple(value)


def _count(value: Any, what: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise InvalidOptionError(f"{what} must be an integer from 0 on, not {value!r}")
    return value


def _fields(value: Any, resource: Resource) -> tuple[str, ...] | None:
    names = _names(value, "fields")
    for name in names or ():
        _known(resource, name)
    return tuple(dict.fromkeys(names)) if names is not None else None


def _known(resource: Resource, name: str) -> Attribute:
    attribute = resource.fields.get(name)
    if attribute is None:
        raise InvalidOptionError(f"no such field {name!r}")
    return attribute


def _order(value: Any, resource: Resource) -> tuple[str, ...]:
    names = _names(value, "order") or ()
    for name in names:
        if not isinstance(_known(resource, name.removeprefix("-")), Field):
            raise InvalidOptionError(f"order: {name.removeprefix('-')!r} has no order")
    return names


def _conditions(value: Any, resource: Resource) -> tuple[Condition, ...]:
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"filters must be a dictionary, not {value!r}")
    asked = [_condition(resource, name, given) for name, given in value.items()]
    for most, what, counted in (
        (MAX_VALUES, "all filters", asked),
        (MAX_PIECES, "contains", [each for each in asked if each.operator == "contains"]),
    ):
        number = sum(len(condition.values) for condition in counted)
        if number > most:
            raise InvalidOptionError(
                f"filters: {number:,} values for {what}; at most {most:,} can be asked for at once"
            )
    known = {condition.field for condition in asked}
    for (name, of), (other, implied) in resource.implied.items():
        if Condition(name, "eq", (of,)) in asked and other not in known:
            asked.append(Condition(other, "eq", (implied,)))
    return tuple(asked)


def _condition(resource: Resource, name: Any, given: Any) -> Condition:
    if not isinstance(name, str):
        raise InvalidOptionError(f"filters: {name!r} is not text")
    field, _, operator = name.rpartition("__") if "__" in name else (name, "", "eq")
    attribute = _known(resource, field)
    if operator not in OPERATORS:
        raise InvalidOptionError(
            f"filters: no such operator {operator!r} in {name!r}; there are {', '.join(OPERATORS)}"
        )
    values = tuple(given) if isinstance(given, list | tuple | set | frozenset) else (given,)
    if not values:
        raise InvalidOptionError(f"filters: no value for {name!r}")
    if len(values) > 1 and not OPERATORS[operator].several:
        raise InvalidOptionError(f"filters: {name!r} takes one value")
    kind = resource.kind(field)
    if operator not in operators_of(resource, field):
        raise InvalidOptionError(f"filters: {field!r} is of the kind {kind} and cannot be filtered with {operator!r}")
    if operator not in ("eq", "ne", "in", "notin") and None in values:
        raise InvalidOptionError(f"filters: {name!r} cannot compare with None")
    for single in values:
        if single is not None and not _fits(attribute, kind, single):
            raise InvalidOptionError(f"filters: invalid value {single!r} for {name!r}, which is of the kind {kind}")
    return Condition(field, operator, values)


def operators_of(resource: Resource, name: str) -> list[str]:
    """The operators that a field can be filtered with."""
    kind = resource.kind(name)
    if kind == "json":
        return []
    if kind == "list":
        return ["contains"] if _searchable(resource.fields[name]) else []
    if kind == "bool":
        return ["eq", "ne", "in", "notin"]
    return [operator for operator in OPERATORS if operator != "contains" or kind == "str"]


def _searchable(attribute: Attribute) -> bool:
    if isinstance(attribute, Related):
        return attribute.shape == "values"
    return isinstance(attribute, Field) and isinstance(attribute.expr.type, ListText)


def _fits(attribute: Attribute, kind: Kind, value: Any) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind in ("int", "time"):
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if kind == "list" and isinstance(attribute, Related):
        _, element = attribute.statement.selected_columns
        return _fits(attribute, kind_of(element), value)
    return isinstance(value, str) and is_storable(value)


def is_storable(value: str) -> bool:
    """Whether every database can store this text."""
    try:
        checks.text(value, "")
    except ValueError:
        return False
    return True
