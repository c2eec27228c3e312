"""Items and goals."""

from __future__ import annotations

import pytest

from bench import goals
from bench.items import BY_NAME, ITEMS, chosen


def test_only_chooses_by_prefix() -> None:
    """Prefixes are separated by commas; without any, all items are chosen."""
    assert [item.name for item in chosen("claim_1,setS")] == ["claim_1", "claim_100", "setState"]
    assert chosen("") == list(ITEMS)


def test_only_refuses_a_prefix_that_no_item_has() -> None:
    """A typing error measures nothing instead of everything."""
    with pytest.raises(ValueError, match="no item begins with 'clam'"):
        chosen("addChange,clam")


def test_goals_name_items_and_callers_that_there_are() -> None:
    """Each goal is for a measured item and number of callers."""
    for name, by_callers in goals.GOALS.items():
        assert set(by_callers) <= set(BY_NAME[name].callers)


def test_a_goal_may_depend_on_the_backend() -> None:
    """A plain number is for all, a mapping for those that it names."""
    assert goals.goal("mysql", "addChange", 1, "raw") == 0.4
    assert goals.goal("postgresql", "addChange", 50, "group") == 0.5
    assert goals.goal("mysql", "addChange", 1, "upstream") is None
    assert goals.goal("sqlite", "nothing", 1, "raw") is None
