"""Values that storage gets wrong easily, and values that must be refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

from buildbot.util.checks import MAX_TEXT

#: names that some database or driver would take for one another, cut or change
NAMES = (
    "linux",
    "Linux",
    "línux",
    "li\u0301nux",
    "linux ",
    " linux",
    "linux\t",
    "ss",
    "ß",
    "🦊",
    "🦝",
    "\U0001d518\U0001d52b",
    "",
    "NULL",
    "%_\\'\";--",
    "line\nend\r\n",
    "\x01\x7f\u200b\ufffd",
    "7",
    "n" * 10_000,
    "n" * 10_001,
    "🦊" * 10_000,
)

#: invalid values of text arguments: value, and the error that names the argument
NOT_TEXT: tuple[tuple[Any, type[Exception]], ...] = (
    (b"bytes", TypeError),
    (7, TypeError),
    (["list"], TypeError),
    ("nul\x00", ValueError),
    ("lone \ud800", ValueError),
    ("x" * (MAX_TEXT + 1), ValueError),
)
NOT_REQUIRED_TEXT = ((None, TypeError), *NOT_TEXT)

#: invalid ids
NOT_ID: tuple[tuple[Any, type[Exception]], ...] = (
    ("1", TypeError),
    (b"1", TypeError),
    (1.0, TypeError),
    (True, TypeError),
    (2**63, ValueError),
)
NOT_REQUIRED_ID = ((None, TypeError), *NOT_ID)

#: invalid lists of ids
NOT_IDS: tuple[tuple[Any, type[Exception]], ...] = (
    (None, TypeError),
    (1, TypeError),
    ("12", TypeError),
    (b"12", TypeError),
    *(([1, value], error) for value, error in NOT_REQUIRED_ID),
)

#: invalid times
NOT_TIME: tuple[tuple[Any, type[Exception]], ...] = (
    (1_700_000_000, TypeError),
    ("now", TypeError),
    (dt.datetime(2024, 2, 29, 12, 30, 59), ValueError),
)

#: invalid values of filters that take true, false or None
NOT_CHOICE: tuple[tuple[Any, type[Exception]], ...] = (("yes", ValueError), (2, ValueError), (0, ValueError))

#: JSON that survives as it is
JSON_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**53 + 1,
    2**63,
    -(2**70),
    1.5,
    1e300,
    "",
    "text",
    "🦊 línux ",
    "nul \x00 inside",
    "x" * 100_000,
    [],
    {},
    [1, [2, [3]], {"a": None}],
    {"": "", "🦊": [1.0], "a b": {"c": [True]}},
)

#: values that are not JSON, and the error
NOT_JSON: tuple[tuple[Any, type[Exception]], ...] = (
    (float("nan"), TypeError),
    (float("inf"), TypeError),
    ([float("-inf")], TypeError),
    (b"bytes", TypeError),
    ({1: "key"}, TypeError),
    ({"a": {None: 1}}, TypeError),
    ({1, 2}, TypeError),
    (object(), TypeError),
    ("lone \udc00", ValueError),
    ({"lone \udc00": 1}, ValueError),
)

#: an id that nothing has
NOBODY = 2**62
