"""Answers that are kept."""

from __future__ import annotations

from buildbot.www.api.response_cache import Key, ResponseCache
from buildbot.www.http.messages import Response


def _key(query: str) -> Key:
    return ("builds",), query, True, frozenset()


def test_what_was_asked_counts() -> None:
    """Long questions with short answers fill the room as long answers do."""
    answers = ResponseCache(100_000)
    keys = [_key(f"{number:010000}") for number in range(50)]
    for key in keys:
        answers.put(key, 1, Response(200, (), b"[]"))
    kept = [key for key in keys if key in answers]
    assert kept == keys[-len(kept) :]
    assert 5 <= len(kept) <= 10


def test_another_version() -> None:
    """An answer of another version is none, and makes room."""
    answers = ResponseCache(100_000)
    answers.put(_key("a"), 1, Response(200, (), b"1"))
    assert answers.get(_key("a"), 2) is None
    answers.put(_key("b"), 2, Response(200, (), b"2"))
    assert _key("a") not in answers
