"""Which content codings a client takes, as RFC 9110 has it."""

from __future__ import annotations

import pytest

from buildbot.www.http.compression import accepted
from buildbot.www.http.messages import Request


@pytest.mark.parametrize(
    ("header", "codings"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip zstd"),
        ("GZIP;Q=1.0", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip;q=0", ""),
        ("gzip; q=0.000", ""),
        ("gzip;q = 0.0 , zstd", "zstd"),
        ("gzip;q=0.001", "gzip"),
        ("*", "gzip zstd"),
        ("*;q=0", ""),
        ("*;q=0, gzip", "gzip"),
        ("gzip;q=0, *", "zstd"),
        ("identity;q=0", ""),
        ("identity;q=0, gzip;q=0.5", "gzip"),
        ("identity", ""),
        ("gzip;q=abc", ""),
        ("gzip;q=nan", ""),
        ("gzip;q=-1", ""),
        ("gzip;q=", ""),
        ("gzip;level=9", "gzip"),
        ("gzip;level=9;q=0", ""),
        (", ,gzip,;,", "gzip"),
        ("x" * 300 + ", gzip;q=0, zstd", "zstd"),
    ],
)
def test_accepted(header: str, codings: str) -> None:
    """A coding that is named is taken unless its weight is 0, or none; ``*`` is about those that are not named."""
    assert accepted(Request("GET", "/", headers={"accept-encoding": header})) == set(codings.split())


def test_none_is_named() -> None:
    """Without the header nothing is compressed."""
    assert accepted(Request("GET", "/")) == set()
