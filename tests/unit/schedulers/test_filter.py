"""ChangeFilter."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildbot.changes.changes import Change
from buildbot.changes.filter import ATTRIBUTES, ChangeFilter
from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Properties

VALUES = st.sampled_from(["", "a", "ab", "b"])
CHANGES = st.builds(
    Change,
    number=st.just(1),
    project=VALUES,
    repository=VALUES,
    codebase=VALUES,
    branch=st.none() | VALUES,
    category=st.none() | VALUES,
)


def passes(change: Change, **criteria: Any) -> bool:
    """A filter with these criteria lets the change pass."""
    return ChangeFilter(**criteria).filter_change(change)


def test_without_criteria_everything_passes() -> None:
    assert ChangeFilter().filter_change(Change(1))


@given(change=CHANGES, attribute=st.sampled_from(ATTRIBUTES), value=VALUES)
def test_a_value_passes_equal_ones_and_not_eq_the_others(change: Change, attribute: str, value: str) -> None:
    equal = getattr(change, attribute) == value
    for name in (attribute, f"{attribute}_eq"):
        assert passes(change, **{name: value}) is equal
        assert passes(change, **{name: [value, "other"]}) is equal
    assert passes(change, **{f"{attribute}_not_eq": value}) is not equal


@given(change=CHANGES, attribute=st.sampled_from(ATTRIBUTES), pattern=st.sampled_from(["a", "a$", ".*b", "^$"]))
def test_patterns_match_from_the_beginning(change: Change, attribute: str, pattern: str) -> None:
    """None counts as empty; compiled patterns and texts do the same; _not_re is the opposite."""
    matches = re.match(pattern, getattr(change, attribute) or "") is not None
    assert passes(change, **{f"{attribute}_re": pattern}) is matches
    assert passes(change, **{f"{attribute}_re": re.compile(pattern)}) is matches
    assert passes(change, **{f"{attribute}_not_re": pattern}) is not matches


@given(change=CHANGES, one=st.sampled_from(ATTRIBUTES), two=st.sampled_from(ATTRIBUTES), value=VALUES)
def test_every_criterion_must_be_met(change: Change, one: str, two: str, value: str) -> None:
    first, second = {f"{one}_re": "a"}, {f"{two}_not_eq": value}
    both = passes(change, **first, **second)
    assert both is (passes(change, **first) and passes(change, **second))


def test_branch_none_is_the_default_branch_and_no_branch_is_any() -> None:
    on_main, on_default = Change(1, branch="main"), Change(1, branch=None)
    assert ChangeFilter(branch=None).filter_change(on_default)
    assert not ChangeFilter(branch=None).filter_change(on_main)
    assert ChangeFilter(branch=[None, "main"]).filter_change(on_main)
    assert ChangeFilter().filter_change(on_main)
    assert ChangeFilter().filter_change(on_default)


def test_functions() -> None:
    change = Change(1, project="p", files=("doc/a",))
    assert ChangeFilter(filter_fn=lambda change: "doc/a" in change.files).filter_change(change)
    assert not ChangeFilter(project_fn=lambda project: project == "q").filter_change(change)


def test_properties() -> None:
    properties = Properties()
    properties.setProperty("target", "release-2", "Change")
    change = Change(1, properties=properties)
    passing: list[Any] = ["release-2", ["x", "release-2"], re.compile("release"), lambda value: value.endswith("2")]
    for criterion in passing:
        assert ChangeFilter(properties={"target": criterion}).filter_change(change)
    assert not ChangeFilter(properties={"target": "x"}).filter_change(change)
    assert not ChangeFilter(properties={"missing": "x"}).filter_change(change)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"brunch": "main"}, "unknown argument 'brunch'"),
        ({"branch_re": "("}, "no pattern"),
        ({"branch_fn": "main"}, "must be a function"),
        ({"filter_fn": "main"}, "must be a function"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=re.escape(message)):
        ChangeFilter(**arguments)


def test_filters_made_alike_are_equal() -> None:
    assert ChangeFilter(branch="a") == ChangeFilter(branch="a")
    assert ChangeFilter(branch="a") != ChangeFilter(branch="b")
