"""JSON for the database: strict when it is written, fast when it is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson

#: the value of a JSON text
JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"

_LONG_NUMBER = re.compile(r"\d{19}")
_LONG_NUMBER_BYTES = re.compile(rb"\d{19}")


def dumps(value: Any, what: str = "value") -> str:
    """The JSON text of a value.

    Tuples become lists. ``what`` names the argument in errors.

    Raises:
        TypeError: something in it is not JSON: NaN, infinity, bytes, a key that is not a string, an object.
        ValueError: text in it holds a lone surrogate, which no database stores.
    """
    try:
        _check(value, what)
    except RecursionError:
        raise TypeError(f"{what}: nested too deeply for JSON, or in itself") from None
    return encoded(value).decode()


def encoded(value: Any) -> bytes:
    """The JSON text, as bytes, of a value that is known to be JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, which JSON allows and orjson does not
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def loads(text: str | bytes) -> Any:
    """The value of a JSON text; TypeError if it is none."""
    # orjson makes a float of an integer beyond 64 bits
    if not (_LONG_NUMBER if isinstance(text, str) else _LONG_NUMBER_BYTES).search(text):  # type: ignore[arg-type]
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
    try:  # integers beyond 64 bits, lone escapes
        return json.loads(text)
    except ValueError as error:
        raise TypeError(f"not JSON: {error}") from error


def dump_list(items: Iterable[Any]) -> str:
    r"""A JSON list whose every element stands between two raw newlines, so that SQL can look for an exact element.

    Raw newlines cannot occur inside an encoded element, so ``\n"x"\n`` is found if and only if "x" is one.
    """
    return "[" + ",".join(f"\n{orjson.dumps(item).decode()}\n" for item in items) + "]"


def list_element(item: Any) -> str:
    """The text of an element in a ``dump_list`` text."""
    return f"\n{orjson.dumps(item).decode()}\n"


def _check(value: Any, what: str) -> None:
    if value is None or value is True or value is False:
        return
    kind = type(value)
    if kind is str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{what}: text with a lone surrogate cannot be stored") from None
    elif kind is int:
        return
    elif kind is float:
        if not math.isfinite(value):
            raise TypeError(f"{what}: {value!r} is not JSON")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{what}: the key {key!r} is not a string, so it is not JSON")
            _check(key, what)
            _check(inner, what)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner, what)
    elif isinstance(value, str | int | float):  # of subclasses the plain value
        _check((str if isinstance(value, str) else int if isinstance(value, int) else float)(value), what)
    else:
        raise TypeError(f"{what}: {kind.__name__} is not JSON")
