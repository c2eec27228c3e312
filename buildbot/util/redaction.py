"""Secrets in texts: each occurrence of a value becomes its name, ``<name>``.

A value is found in its plain form and in quoted forms: in a Python or JSON text, a shell line, a URL, HTML. Each long
enough line of a value of several lines is found by itself, since logs are stored line by line.
"""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

#: a line of a value of several lines is a secret by itself from this number of characters on
MIN_LINE_CHARS = 4


class Redactor:
    """Secret values, and their names."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        #: characters of the longest form of a value; 0 without any
        self.longest = 0

    def __bool__(self) -> bool:
        return bool(self._names)

    def add(self, value: Any, name: str) -> None:
        """Hide a value from now on. Blanks alone are no secret; of other values than text their ``str`` is hidden."""
        fresh = {form: name for form in _forms(str(value)) if form not in self._names}
        if fresh:
            self._names |= fresh
            # longer forms first: a value may be the beginning of another one
            ordered = sorted(self._names, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered)))
            self.longest = len(ordered[0])

    def clean(self, text: str) -> str:
        """``text`` with names in place of the values."""
        return text if self._pattern is None else self._pattern.sub(self._name, text)

    def clean_bytes(self, content: bytes) -> bytes:
        """The same for bytes, with values in UTF-8."""
        if self._pattern is None:
            return content
        return self.clean(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def clean_value(self, value: Any) -> Any:
        """The same for the texts in a JSON value, keys included. A number that is a value becomes its name, too."""
        if self._pattern is None or value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, list | tuple):
            return type(value)(map(self.clean_value, value))
        if isinstance(value, dict):
            return {self.clean_value(key): self.clean_value(item) for key, item in value.items()}
        if isinstance(value, int | float) and str(value) in self._names:
            return self.clean(str(value))
        return value

    def _name(self, found: re.Match[str]) -> str:
        return f"<{self._names[found.group()]}>"


def _forms(value: str) -> set[str]:
    """The forms of a value in texts."""
    lines = value.splitlines()
    whole = {value, value.strip("\r\n"), "\n".join(lines), "\r\n".join(lines)}
    parts = {line.strip() for line in lines if len(line.strip()) >= MIN_LINE_CHARS} if len(lines) > 1 else set()
    return {form for each in whole | parts for form in _quoted(each) if form.strip()}


def _quoted(value: str) -> Iterator[str]:
    yield value
    yield repr(value)[1:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield shlex.quote(value).strip("'")
    yield html.escape(value)
    yield html.escape(value, quote=False)
    try:
        yield quote(value, safe="")
        yield quote(value)
        yield quote_plus(value)
    except UnicodeEncodeError:
        return  # it cannot be in a URL


#: all secrets that this process has looked up, for the log of the process itself
known = Redactor()
