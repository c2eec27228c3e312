"""Calls of a group that are joined into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from buildbot.db.engine.queues import Call, CallForOne, joined


def claim(*args: Any) -> None:
    """Stands for a function of ids."""


def complete(*args: Any) -> None:
    """Another one."""


def of(function: Any, ids: list[int], *rest: Any, joins: bool = True) -> Call:
    """A call."""
    return Call(function, (ids, *rest), {}, joins=joins)


def arguments(calls: list[Call]) -> list[Any]:
    """The joined calls: function and arguments."""
    return [(call.function, *call.args) for call in joined(calls)]


def run(calls: Sequence[Call]) -> None:
    """Run what the calls become."""
    for call in joined(calls):
        call.settle(call.function(None, *call.args))


def test_alike() -> None:
    """Neighbours that differ only in their ids are one, with the ids of all; each of them gives nothing."""
    calls = [of(complete, [2, 1], 0), of(complete, [3], 0), of(complete, [], 0)]
    calls[1].outcome = "of an earlier attempt"
    assert arguments(calls) == [(complete, [2, 1, 3], 0)]
    run(calls)
    assert [call.outcome for call in calls] == [None, None, None]


def test_alike_with_outcomes() -> None:
    """Neighbours for one id each are one, and each is told whether its own id was among those that were possible."""

    def odd(conn: Any, ids: list[int]) -> list[int]:
        assert ids == [3, 4, 5]
        return [each for each in ids if each % 2]

    calls = [CallForOne(odd, ([each],), {}, joins=True) for each in (3, 4, 5)]
    run(calls)
    assert [call.outcome for call in calls] == [True, False, True]


@pytest.mark.parametrize(
    "other",
    [
        of(claim, [3], 0),
        of(complete, [3], 1),
        of(complete, [3], False),
        of(complete, [3], 0, None),
        of(complete, [3], 0, joins=False),
        of(complete, [1], 0),
    ],
    ids=["function", "argument", "type", "number of arguments", "does not join", "same id"],
)
def test_apart(other: Call) -> None:
    """Calls that differ are not joined, and the order is kept."""
    first, last = of(complete, [1], 0), of(complete, [1], 0)
    assert list(joined([first, other, last])) == [first, other, last]


def test_none() -> None:
    """No calls give no calls."""
    assert list(joined([])) == []
