"""JSON from outside: it is read, unless that would take too long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildbot.www import jsonbody

MANY = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"0," * MANY + b"0]",
        b"[" + b"[]," * MANY + b"[]]",
        b"[" + b"{}," * MANY + b"{}]",
        b'["' + b'","' * MANY + b'"]',
        b'["' + b'\\\\","' * MANY + b'"]',
        b"{" + b",".join(b'"%d":0' % number for number in range(MANY)) + b"}",
    ],
    ids=["numbers", "lists", "objects", "texts", "texts that end with a backslash", "names"],
)
def test_too_many_values(text: bytes) -> None:
    """A text with a million values is refused before it is read."""
    with pytest.raises(ValueError, match="more than 250000 values"):
        jsonbody.parse(text)


@pytest.mark.parametrize(
    "value",
    ["x" * 9_000_000, 'a,{"b"}[\n' * MANY, "\n" * MANY, '"' * MANY, list(range(100_000)), 10**100, "\\" * MANY],
    ids=["long", "patch", "lines", "quotes", "list", "number", "backslashes"],
)
def test_long_texts(value: Any) -> None:
    """A text in it may be of any length and hold anything."""
    assert jsonbody.parse(json.dumps({"a": value}).encode()) == {"a": value}


@pytest.mark.parametrize("text", [b'"' + b'\\"' * MANY, b'"' + b"\\n," * MANY, b"\\" * MANY, b"\xff", b"[" * MANY])
def test_no_json(text: bytes) -> None:
    """Invalid JSON is refused as fast as valid JSON is read."""
    with pytest.raises((ValueError, RecursionError)):
        jsonbody.parse(text)
