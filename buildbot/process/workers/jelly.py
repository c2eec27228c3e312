"""Plain data as PB writes it, as Twisted's own Jelly does it, in a third of the time.

Nearly all that masters and workers tell each other is None, booleans, numbers, texts, bytes, and lists, tuples and
dictionaries of them. Twisted's code asks of each value whether its class is allowed, and notes it in case that it comes
again. Everything else is left to Twisted: references, failures, and whatever it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_TRUE, _FALSE = b"true", b"false"
_TRUTHS = {_TRUE: True, _FALSE: False}


class QuickJelly:
    """For subclasses of `twisted.spread.pb.Broker`, before it: replaces ``serialize`` and ``unserialize``."""

    def serialize(self, object: Any, *context: Any, **named: Any) -> Any:
        """A value as lists, numbers and bytes. One that stands in it several times is several in the copy."""
        if type(object) not in _PLAIN:
            return super().serialize(object, *context, **named)  # type: ignore[misc]

        def others(value: Any) -> Any:
            return super(QuickJelly, self).serialize(value, *context, **named)  # type: ignore[misc]

        try:
            return _jellied(object, others)
        except Exception:  # no text for UTF-8, a list that holds itself: Twisted's own words for it
            return super().serialize(object, *context, **named)  # type: ignore[misc]

    def unserialize(self, sexp: Any, *context: Any, **named: Any) -> Any:
        """The value that was written so."""
        try:
            return _unjellied(sexp)
        except Exception:  # not plain, or not well-formed
            return super().unserialize(sexp, *context, **named)  # type: ignore[misc]


def _jellied(value: Any, others: Callable[[Any], Any]) -> Any:
    kind = type(value)
    if kind is str:
        return [b"unicode", value.encode()]
    if kind is int or kind is bytes or kind is float:
        return value
    if value is None:
        return [b"None"]
    if kind is bool:
        return [b"boolean", _TRUE if value else _FALSE]
    if kind is list:
        return [b"list", *[_jellied(item, others) for item in value]]
    if kind is tuple:
        return [b"tuple", *[_jellied(item, others) for item in value]]
    if kind is dict:
        return [b"dictionary", *[[_jellied(key, others), _jellied(item, others)] for key, item in value.items()]]
    return others(value)


_PLAIN = frozenset({str, int, bytes, float, type(None), bool, list, tuple, dict})


def _unjellied(sexp: Any) -> Any:
    return _KINDS[sexp[0]](sexp) if type(sexp) is list else sexp


_KINDS: Mapping[bytes, Callable[[list[Any]], Any]] = {
    b"unicode": lambda sexp: str(sexp[1], "UTF-8"),
    b"None": lambda sexp: None,
    b"boolean": lambda sexp: _TRUTHS[sexp[1]],
    b"list": lambda sexp: [_unjellied(item) for item in sexp[1:]],
    b"tuple": lambda sexp: tuple([_unjellied(item) for item in sexp[1:]]),
    b"dictionary": lambda sexp: {_unjellied(key): _unjellied(item) for key, item in sexp[1:]},
}
