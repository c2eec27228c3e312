"""Secrets in texts become their names."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildbot.util.redaction import Redactor


def redactor(**secrets: object) -> Redactor:
    """A redactor of these values."""
    made = Redactor()
    for name, value in secrets.items():
        made.add(value, name)
    return made


def test_each_occurrence() -> None:
    """The longer value comes first; short ones count; blanks alone are none."""
    hides = redactor(short="ab", long="abc", empty="", blank=" \n")
    assert hides.clean("abc cab ab x") == "<long> c<short> <short> x"
    assert hides.clean("") == ""
    assert not redactor(empty="")


@pytest.mark.parametrize("form", [
    repr, json.dumps, lambda value: quote(value, safe=""), lambda value: value.replace("'", "'\"'\"'"),
])  # fmt: skip
def test_quoted(form: object) -> None:
    """A value is found where it is quoted."""
    value = 'it\'s & "so"\\\té'
    assert callable(form)
    cleaned = redactor(s=value).clean(f"before {form(value)} after")
    assert "<s>" in cleaned and "so" not in cleaned


def test_several_lines() -> None:
    """Each line of a value that means something is hidden by itself; brackets alone are not."""
    key = "-----BEGIN KEY-----\nMIIabcdef\n}\n-----END KEY-----\n"
    hides = redactor(key=key)
    assert hides.clean(f"<{key}>") == "<<key>>"
    for line in key.splitlines():
        assert hides.clean(f"x{line}y") == ("x}y" if line == "}" else "x<key>y")
    assert hides.clean("argv: " + repr([key])) == "argv: ['<key>']"


def test_json_values() -> None:
    """Every text in a value is cleaned, and a number that is one."""
    hides = redactor(pin=4711, word="hush")
    cleaned = hides.clean_value({"hush": ["a hush", 4711, ("hush",), None, True, 1.5]})
    assert cleaned == {"<word>": ["a <word>", "<pin>", ("<word>",), None, True, 1.5]}


def test_bytes() -> None:
    """Bytes that are no text stay unchanged."""
    hides = redactor(s="größe")
    assert hides.clean_bytes(b"\xff" + "größe".encode() + b"\xfe") == b"\xff<s>\xfe"


@given(st.text(min_size=3).filter(lambda value: value.strip() and not set(value) & set("<>s")), st.text(), st.text())
def test_a_value_is_never_left(value: str, before: str, after: str) -> None:
    """A value is hidden in any surrounding text."""
    assert value not in redactor(s=value).clean(f"{before}\0{value}\0{after}").replace("\0", "<")
