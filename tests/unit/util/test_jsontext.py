"""JSON as it is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildbot.util import jsontext
from tests.support.samples import JSON_VALUES, NOT_JSON

storable = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | storable,
    lambda inner: st.lists(inner) | st.dictionaries(storable, inner),
)


@given(values)
def test_round_trip(value: Any) -> None:
    """JSON values come back unchanged, integers of any size, too."""
    text = jsontext.dumps(value)
    assert repr(jsontext.loads(text)) == repr(value)
    assert json.loads(text) == value
    assert "\x00" not in text


@pytest.mark.parametrize("value", JSON_VALUES, ids=range(len(JSON_VALUES)))
def test_samples(value: Any) -> None:
    """The same, of values that something got wrong once."""
    assert repr(jsontext.loads(jsontext.dumps(value))) == repr(value)


@pytest.mark.parametrize(("value", "error"), NOT_JSON, ids=range(len(NOT_JSON)))
def test_refused(value: Any, error: type[Exception]) -> None:
    """NaN, infinities and non-string keys are TypeError, lone surrogates ValueError; the argument is named."""
    with pytest.raises(error, match="argument"):
        jsontext.dumps([value], "argument")


@pytest.mark.parametrize("text", ["", "{", "nan", "'x'", "[1,]", b"\xff"])
def test_not_json(text: str | bytes) -> None:
    """TypeError if JSON parsing fails."""
    with pytest.raises(TypeError):
        jsontext.loads(text)


@given(st.lists(storable), storable)
def test_list_elements(items: list[str], item: str) -> None:
    """An element's text is found in a list's if and only if it is one."""
    text = jsontext.dump_list(items)
    assert jsontext.loads(text) == items
    assert (jsontext.list_element(item) in text) == (item in items)
