"""Which patterns match a routing key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from buildbot.mq.match import Pattern, PatternIndex, matches

segments = st.sampled_from("abc")
keys = st.lists(segments, min_size=1, max_size=4).map(tuple)
patterns = st.lists(st.none() | segments, min_size=1, max_size=4).map(tuple)


@given(st.lists(patterns), keys)
def test_index_agrees(listening: list[Pattern], key: tuple[str, ...]) -> None:
    """The index finds exactly those that match, each as often as it listens."""
    index: PatternIndex[int] = PatternIndex()
    for number, pattern in enumerate(listening):
        index.add(pattern, number)
    assert sorted(index.matching(key)) == [n for n, pattern in enumerate(listening) if matches(pattern, key)]


@given(st.lists(patterns), st.data(), keys)
def test_removed(listening: list[Pattern], data: st.DataObject, key: tuple[str, ...]) -> None:
    """A removed subscription is not found; to remove one twice, or an unknown one, does nothing."""
    index: PatternIndex[int] = PatternIndex()
    for number, pattern in enumerate(listening):
        index.add(pattern, number)
    gone = data.draw(st.sets(st.sampled_from(range(len(listening))))) if listening else set()
    for number in gone:
        index.remove(listening[number], number)
        index.remove(listening[number], number)
        index.remove(("nobody",), number)
    expected = [n for n, pattern in enumerate(listening) if n not in gone and matches(pattern, key)]
    assert sorted(index.matching(key)) == expected


def test_matches() -> None:
    """None matches any one segment; the number of segments must be equal."""
    assert matches((None, "b"), ("a", "b"))
    assert not matches((None,), ("a", "b"))
    assert not matches((None, None, None), ("a", "b"))
    assert not matches(("A", "b"), ("a", "b"))
