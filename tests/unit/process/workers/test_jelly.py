"""The quick Jelly gives the result of Twisted's own, for plain values and all others."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.spread import pb

from buildbot.process.workers.jelly import QuickJelly

_Broker: Any = pb.Broker  # Twisted's have no types


class Quick(QuickJelly, _Broker):  # type: ignore[misc]
    """Ours."""


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=20,
)
sexps = st.recursive(
    st.integers() | st.binary(max_size=5),
    lambda inner: st.builds(
        lambda head, rest: [head, *rest],
        st.sampled_from(
            [b"unicode", b"None", b"boolean", b"list", b"tuple", b"dictionary", b"reference", b"set", b"module", b"x.y"]
        )
        | inner,
        st.lists(inner | st.sampled_from([b"true", b"os"]), max_size=3),
    ),
    max_leaves=15,
)


def outcome(function: Any, *args: Any) -> Any:
    """A function's result, with types, or the kind and message of its error."""
    try:
        given = function(*args)
    except Exception as error:
        return type(error), str(error)
    return type(given), repr(given)


@settings(deadline=None)
@given(plain)
def test_plain_values(value: Any) -> None:
    """A value is written as Twisted's writes it, and comes out as it went in."""
    written = Quick().serialize(value)
    assert Quick().unserialize(written) == _Broker().unserialize(written) == value
    assert outcome(Quick().unserialize, written) == outcome(_Broker().unserialize, written)
    if not _repeats(value, set()):
        assert written == _Broker().serialize(value)


def _repeats(value: Any, seen: set[int]) -> bool:
    """Whether a list, tuple or dictionary stands in a value twice: Twisted's writes a reference then."""
    if not isinstance(value, list | tuple | dict):
        return False
    if id(value) in seen:
        return True
    seen.add(id(value))
    inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return any(_repeats(each, seen) for each in inner)


@settings(deadline=None)
@given(sexps)
def test_any_message(sexp: Any) -> None:
    """For other values, and for invalid messages, it gives Twisted's own result or error."""
    assert outcome(Quick().unserialize, sexp) == outcome(_Broker().unserialize, sexp)


@pytest.mark.parametrize("value", [{1, 2}, date(2026, 1, 2), "\ud800", ["\ud800"], object(), [object()], print])
def test_other_values(value: Any) -> None:
    """Values that are not plain are written, or refused, as Twisted's does it, alone and in a list."""
    assert outcome(Quick().serialize, value) == outcome(_Broker().serialize, value)
    assert outcome(Quick().serialize, [1, value]) == outcome(_Broker().serialize, [1, value])


def test_a_value_in_two_places() -> None:
    """A list that stands in a value twice comes out twice; one that holds itself comes out as such."""
    twice = [1]
    assert Quick().unserialize(Quick().serialize([twice, twice])) == [[1], [1]]
    itself: list[Any] = []
    itself.append(itself)
    back = Quick().unserialize(Quick().serialize(itself))
    assert back[0] is back


def test_references() -> None:
    """A referenceable among plain arguments is registered once, and comes out as a reference."""
    broker, other = Quick(), Quick()
    other.sendDecRef = lambda luid: None  # it is not connected
    thing = pb.Referenceable()
    written = broker.serialize((thing, "text", {"a": thing}))
    assert written[:1] == [b"tuple"] and written[2] == [b"unicode", b"text"]
    reference, text, more = other.unserialize(written)
    assert isinstance(reference, pb.RemoteReference) and more == {"a": reference} and text == "text"
    assert broker.localObjects[reference.luid].object is thing


def test_an_answer_that_comes_later() -> None:
    """A Deferred is written when it has fired."""
    later: Deferred[Any] = Deferred()
    written = Quick().serialize(later)
    later.callback(["done"])
    assert written.result == [b"list", [b"unicode", b"done"]]
