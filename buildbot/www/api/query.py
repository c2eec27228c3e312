"""Query strings become options of the Data API, checked once against the fields of the endpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from buildbot.db.engine.query import OPERATORS
from buildbot.www.errors import RefusedError

_INTEGER = re.compile(r"[+-]?[0-9]+")
_TRUE = frozenset({"on", "true", "yes", "1"})
_FALSE = frozenset({"off", "false", "no", "0"})


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _boolean(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _not_comparable(text: str) -> Any:
    """Objects cannot be compared with a text."""
    raise ValueError(text)


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    "int": _integer,
    "time": _integer,
    "bool": _boolean,
    "str": str,
    "list": str,
    "json": _not_comparable,
}


def options_of(parameters: Sequence[tuple[str, str]], fields: Mapping[str, str], is_collection: bool) -> dict[str, Any]:
    """The Data API's options for a query string.

    Args:
        parameters: (name, value) pairs as written.
        fields: the endpoint's field names and their kinds: int, time, bool, str, list, json.
        is_collection: filters are for collections only.

    Returns:
        A dict with any of ``fields``, ``order``, ``limit``, ``offset``, ``expand``, ``properties``, ``filters``;
        filter names are ``field`` or ``field__op``; the value is a list if a parameter came several times.

    Raises:
        RefusedError: 400, a parameter is unknown or has a bad value; the text names it.
    """
    options: dict[str, Any] = {}
    values: dict[str, list[str]] = {}
    for name, value in parameters:
        values.setdefault(name, []).append(value)

    for parameter, option in (("field", "fields"), ("order", "order")):
        if parameter in values:
            chosen = values.pop(parameter)
            for name in chosen:
                bare = name.removeprefix("-") if parameter == "order" else name
                if bare not in fields:
                    raise RefusedError(400, f"no such field '{bare}'")
            options[option] = chosen
    for parameter in ("limit", "offset"):
        if parameter in values:
            options[parameter] = _count(parameter, values.pop(parameter)[0])
    if "property" in values:
        options["properties"] = values.pop("property")
    if "expand" in values:
        options["expand"] = values.pop("expand")

    filters: dict[str, Any] = {}
    for name, texts in values.items():
        field, _, operator = name.partition("__")
        if field not in fields or ("__" in name and operator not in OPERATORS):
            raise RefusedError(400, f"unrecognized query parameter '{name}'")
        if len(texts) > 1 and operator and not OPERATORS[operator].several:
            raise RefusedError(400, f"invalid filter value for {name}")
        convert = _CONVERTERS[fields[field]]
        try:
            converted = [convert(text) for text in texts]
        except ValueError:
            raise RefusedError(400, f"invalid filter value for {name}")
        filters[name] = converted if len(converted) > 1 else converted[0]

    selected = options.get("fields")
    if selected is not None:
        if any(name.removeprefix("-") not in selected for name in options.get("order", ())):
            raise RefusedError(400, "cannot order on un-selected fields")
        if any(name.partition("__")[0] not in selected for name in filters):
            raise RefusedError(400, "cannot filter on un-selected fields")
    if filters:
        if not is_collection:
            raise RefusedError(400, "this is not a collection")
        options["filters"] = filters
    return options


def _count(parameter: str, text: str) -> int:
    try:
        number = _integer(text)
    except ValueError:
        number = -1
    if number < 0:
        raise RefusedError(400, f"invalid {parameter}")
    return number
