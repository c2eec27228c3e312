"""Checks of arguments: TypeError for a wrong type, ValueError for a wrong value, naming the argument."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildbot.util import checks, clock
from buildbot.util.results import CANCELLED, FAILURE, SKIPPED, SUCCESS, statusToString, worst_status
from tests.support.samples import NOT_REQUIRED_ID, NOT_REQUIRED_TEXT

WRONG: list[tuple[Callable[..., Any], Any, type[Exception]]] = [
    *((checks.text, value, error) for value, error in NOT_REQUIRED_TEXT),
    *((checks.identifier, value, error) for value, error in NOT_REQUIRED_ID),
    (checks.integer, -1, ValueError),
    (checks.integer, 2**31, ValueError),
    (checks.identifiers, None, TypeError),
    (checks.identifiers, "12", TypeError),
    (checks.identifiers, [1, None], TypeError),
    (checks.texts, "text", TypeError),
    (checks.texts, [b"x"], TypeError),
    (checks.boolean, None, TypeError),
    (checks.boolean, 2, TypeError),
    (clock.to_seconds, 0, TypeError),
    (clock.to_seconds, dt.datetime(2024, 1, 1), ValueError),
]


@pytest.mark.parametrize(("check", "value", "error"), WRONG, ids=range(len(WRONG)))
def test_wrong(check: Callable[..., Any], value: Any, error: type[Exception]) -> None:
    """The error that goes with it, which names the argument."""
    with pytest.raises(error, match="argument"):
        check(value, "argument")


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1)))
def test_identifiers(ids: list[int]) -> None:
    """The distinct ids of an iterable, ascending."""
    assert checks.identifiers(iter(ids), "ids") == sorted(set(ids))


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3), unique_by=tuple))
def test_name_hash(names: list[list[str]]) -> None:
    """32 hexadecimal digits that stand for text: as different as the parts are."""
    hashes = {checks.name_hash(*parts) for parts in names}
    assert len(hashes) == len(names)
    assert all(len(digits) == 32 and int(digits, 16) >= 0 for digits in hashes)


def test_one_of() -> None:
    """By identity, or equality of the same type: 1 is not True."""
    assert checks.one_of(True, (None, True, "mine"), "argument") is True
    for wrong in (1, 0, "Mine", False):
        with pytest.raises(ValueError, match="argument"):
            checks.one_of(wrong, (None, True, "mine"), "argument")


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.timezones()))
def test_times(moment: dt.datetime) -> None:
    """Whole seconds there and back, in UTC, before 1970 too."""
    found = clock.to_datetime(clock.to_seconds(moment, "moment"))
    assert found is not None
    assert found.tzinfo is dt.UTC
    assert dt.timedelta(0) <= moment - found < dt.timedelta(seconds=1)


def test_results() -> None:
    """From harmless to grave; an unknown code is graver than all."""
    assert worst_status(SUCCESS, SKIPPED) == SUCCESS
    assert worst_status(FAILURE, CANCELLED) == CANCELLED
    assert worst_status(77, CANCELLED) == worst_status(CANCELLED, 77) == 77
    assert [statusToString(code) for code in (None, 0, 6, 7, -1)] == [
        "not finished",
        "success",
        "cancelled",
        "invalid status",
        "invalid status",
    ]
