"""Small checks of configured values; a failure is a ValueError that completes "c['key'] …"."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, overload
from urllib.parse import urlsplit

T = TypeVar("T")
T2 = TypeVar("T2")
T3 = TypeVar("T3")

#: gives the value to keep, of the type ``T``, or raises ValueError
CheckOf: TypeAlias = Callable[[Any], T]
#: the same, where it does not matter which type the value has
Check: TypeAlias = CheckOf[Any]


def suggestion(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known name closest to ``name``, empty if none is close."""
    from difflib import get_close_matches  # only mistakes need it

    # In a short name two swapped letters are half of the name.
    close = get_close_matches(name, list(known), n=1, cutoff=0.6 if len(name) > 3 else 0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def kind(value: object) -> str:
    """A value of the wrong kind, for messages: its type and, if it is short, the value."""
    text = repr(value)
    name = type(value).__name__
    return f"{text} ({name})" if len(text) <= 60 else f"a value of type {name}"


def text(value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {kind(value)}")
    return value


def bytes_(value: object) -> bytes:
    """Bytes."""
    if not isinstance(value, bytes):
        raise ValueError(f"must be bytes, not {kind(value)}")
    return value


def name(value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a text that is not empty, not {kind(value)}")
    return value


def url(value: object) -> str:
    """An http or https URL, unchanged."""
    parts = urlsplit(text(value))
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"must be a URL that starts with http:// or https://, not {value!r}")
    return str(value)


def base_url(value: object) -> str:
    """An http or https URL with a slash at its end, which is added if it is missing."""
    checked = url(value)
    return checked if checked.endswith("/") else checked + "/"


def boolean(value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"must be True or False, not {kind(value)}")
    return value


def flag(value: object) -> object:
    """Any value that Python takes for true or false, but no function, which would always be true."""
    if callable(value):
        raise ValueError(f"must be True, False or a renderable, not {kind(value)}")
    return value


def whole_number(minimum: int = 0) -> CheckOf[int]:
    """An int of at least ``minimum``."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number, not {kind(value)}")
        if value < minimum:
            raise ValueError(f"must be at least {minimum}, not {value}")
        return value

    return check


def number(minimum: float = 0) -> CheckOf[int | float]:
    """An int or float of at least ``minimum``."""

    def check(value: object) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be a number, not {kind(value)}")
        if value < minimum:
            raise ValueError(f"must be at least {minimum}, not {value}")
        return value

    return check


def positive(value: object) -> int | float:
    """A finite number above 0."""
    checked = number(float("-inf"))(value)
    if not 0 < checked < float("inf"):
        raise ValueError(f"must be a number above 0, not {value!r}")
    return checked


def optional(check: CheckOf[T]) -> CheckOf[T | None]:
    """None, or a value that ``check`` accepts."""
    return lambda value: None if value is None else check(value)


def off_or(check: CheckOf[T]) -> CheckOf[T | None]:
    """False or None (both mean off, and become None), or a value that ``check`` accepts."""
    return lambda value: None if value is False or value is None else check(value)


def regular_expression(value: Any) -> re.Pattern[str]:
    """A regular expression of text, or a compiled one; compiled."""
    try:
        compiled: re.Pattern[str] = re.compile(value)
    except (re.error, TypeError) as problem:
        raise ValueError(f"must be a regular expression, not {kind(value)} ({problem})") from None
    if not isinstance(compiled.pattern, str):
        raise ValueError("must be a regular expression of text, not of bytes")
    return compiled


def pattern(value: T) -> T:
    """A regular expression of text, or a compiled one, unchanged."""
    regular_expression(value)
    return value


def one_of(*allowed: T) -> CheckOf[T]:
    """One of some values."""

    def check(value: Any) -> T:
        if not any(value == option and type(value) is type(option) for option in allowed):
            close = suggestion(value, [a for a in allowed if isinstance(a, str)]) if isinstance(value, str) else ""
            raise ValueError(f"must be one of {', '.join(map(repr, allowed))}, not {kind(value)}{close}")
        kept: T = value
        return kept

    return check


def function(value: object) -> Callable[..., Any]:
    """Something that can be called."""
    if not callable(value):
        raise ValueError(f"must be a function, not {kind(value)}")
    return value


@overload
def either(first: CheckOf[T], second: CheckOf[T2], /, *, otherwise: str) -> CheckOf[T | T2]: ...
@overload
def either(
    first: CheckOf[T], second: CheckOf[T2], third: CheckOf[T3], /, *, otherwise: str
) -> CheckOf[T | T2 | T3]: ...
@overload
def either(*checks: Check, otherwise: str) -> Check: ...
def either(*checks: Check, otherwise: str) -> Check:
    """The result of the first of ``checks`` that accepts the value; otherwise the error "must be ``otherwise``"."""

    def check(value: Any) -> Any:
        for each in checks:
            try:
                return each(value)
            except ValueError:
                continue
        raise ValueError(f"must be {otherwise}, not {kind(value)}")

    return check


def sequence(value: object) -> list[Any]:
    """A list or tuple, as a list."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"must be a list, not {kind(value)}")
    return list(value)


def mapping(value: object) -> dict[str, Any]:
    """A dictionary with string keys, copied."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a dictionary, not {kind(value)}")
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"must have strings as keys, not {kind(key)}")
    return dict(value)


def dictionary(value: object) -> Mapping[Any, Any]:
    """A dictionary with keys of any kind, unchanged."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a dictionary, not {kind(value)}")
    return value


def list_of(check: CheckOf[T]) -> CheckOf[list[T]]:
    """A list whose elements ``check`` accepts."""

    def every(value: object) -> list[T]:
        checked = []
        for number_, element in enumerate(sequence(value), 1):
            try:
                checked.append(check(element))
            except ValueError as reason:
                raise ValueError(f"element {number_} {reason}") from None
        return checked

    return every


def encoding(value: object) -> str:
    """The name of a text encoding that Python knows."""
    try:
        codecs.lookup(text(value))
    except LookupError:
        raise ValueError(f"is not an encoding that Python knows: {value!r}") from None
    return str(value)


def only_utf8(value: object) -> str:
    """The name of UTF-8: another encoding of commands' output must be set in the worker."""
    try:
        name = codecs.lookup(text(value)).name
    except LookupError:
        raise ValueError(f"is not an encoding that Python knows: {value!r}") from None
    if name != "utf-8":
        raise ValueError(
            f"must be 'utf-8', not {value!r}: workers send text; set unicode_encoding in the worker's buildbot.tac"
        )
    return "utf-8"


def properties(value: object) -> dict[str, Any]:
    """A dictionary of property values by name: JSON, or renderables of JSON."""
    checked = mapping(value)
    for name, each in checked.items():
        try:
            json.dumps(each, allow_nan=False, default=_renderable)
        except (TypeError, ValueError) as reason:
            raise ValueError(f"[{name!r}] is not a JSON value: {reason}") from None
    return checked


def _renderable(value: object) -> None:
    if not hasattr(value, "getRenderingFor") or isinstance(value, type):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def patterns(*names: str) -> CheckOf[dict[str, re.Pattern[str]]]:
    """A dictionary of regular expressions, texts or compiled, by some of these names; compiled."""

    def check(value: object) -> dict[str, re.Pattern[str]]:
        compiled = {}
        for name, each in mapping(value).items():
            if name not in names:
                raise ValueError(f"[{name!r}] is unknown{suggestion(name, names)}; there are {', '.join(names)}")
            try:
                compiled[name] = re.compile(each)
            except (re.error, TypeError) as reason:
                raise ValueError(f"[{name!r}] must be a regular expression, not {kind(each)} ({reason})") from None
            if not isinstance(compiled[name].pattern, str):
                raise ValueError(f"[{name!r}] must be a regular expression of text, not of bytes")
        return compiled

    return check


def anything(value: Any) -> Any:
    """Any value."""
    return value
