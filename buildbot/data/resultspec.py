"""Queries as plugins of Buildbot 4.3 write them: ``data.get(path, filters=[Filter("complete", "eq", [True])])``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from buildbot.data.exceptions import InvalidOptionError


@dataclass(frozen=True)
class Filter:
    """A condition.

    Attributes:
        field: of the resource.
        op: ``eq``, ``ne``, ``lt``, ``le``, ``gt``, ``ge``, ``contains``, ``in`` or ``notin``.
        values: one value, or several for the operators that take them.
    """

    field: str
    op: str
    values: Sequence[Any]


def options(
    filters: Iterable[Filter] | None = None,
    fields: Sequence[str] | None = None,
    order: Sequence[str] | None = None,
    limit: int | None = None,
    offset: int | None = None,
    **others: Any,
) -> dict[str, Any]:
    """The same as options of ``data.get``.

    Raises:
        InvalidOptionError: a filter is no `Filter`, a field has two with one operator, or there is no such option.
    """
    if others:
        raise InvalidOptionError(f"there is no option {', '.join(map(repr, others))}")
    conditions: dict[str, Any] = {}
    for each in filters or ():
        if not isinstance(each, Filter):
            raise InvalidOptionError(f"filters: {each!r} is no Filter")
        name = f"{each.field}__{each.op}"
        if name in conditions:
            raise InvalidOptionError(f"filters: {each.field!r} has two conditions with {each.op!r}")
        conditions[name] = list(each.values)
    given: dict[str, Any] = {
        "filters": conditions or None,
        "fields": None if fields is None else list(fields),
        "order": None if order is None else list(order),
        "limit": limit,
        "offset": offset,
    }
    return {name: value for name, value in given.items() if value is not None}


__all__ = ["Filter", "options"]
