"""Suppressions: rules that say which warnings of compilers do not count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from buildbot.config import checks

#: a line of a file of suppressions: ``file : text``, ``file : text : line`` or ``file : text : first-last``
_LINE = re.compile(r"\s*(.+?)\s*:\s*(.+?)\s*(?::\s*([0-9]+)(?:-([0-9]+))?\s*)?\Z")


@dataclass(frozen=True)
class Suppression:
    """A rule for warnings that do not count.

    Attributes:
        file: matches the beginning of the file's name; None: any.
        text: is found in the warning's text; None: any.
        first, last: the lines of the file; None: no limit.
    """

    file: re.Pattern[str] | None
    text: re.Pattern[str] | None
    first: int | None = None
    last: int | None = None

    def covers(self, file: str | None, line: int | None, text: str) -> bool:
        """Whether the rule covers a warning. One without a file matches each ``file``; one without a line, no range."""
        if self.file is not None and file is not None and self.file.match(file) is None:
            return False
        if self.text is not None and self.text.search(text) is None:
            return False
        if self.first is None and self.last is None:
            return True
        return line is not None and (self.first or 0) <= line and (self.last is None or line <= self.last)


def suppression(value: Any) -> Suppression:
    """The suppression of ``(file, text, first, last)``; ValueError if an element is wrong."""
    given = checks.sequence(value)
    if len(given) != 4:
        raise ValueError(f"must be (file, text, first line, last line), not {checks.kind(value)}")
    patterns = [None if each is None else checks.regular_expression(each) for each in given[:2]]
    lines = [None if each is None else checks.whole_number()(each) for each in given[2:]]
    return Suppression(patterns[0], patterns[1], lines[0], lines[1])


def _as_given(value: Any) -> Any:
    suppression(value)
    return value


def suppressions(value: Any) -> list[tuple[Any, ...]]:
    """A list of ``(file, text, first, last)``, checked, as it was given."""
    return [tuple(each) for each in checks.list_of(_as_given)(value)]


def read(lines: Iterable[str]) -> list[Suppression]:
    """The suppressions in the lines of a file; ValueError names a line that is wrong."""
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = _LINE.match(line)
        if parts is None:
            raise ValueError(f"line {number} is not 'file : text' or 'file : text : lines': {line.strip()!r:.200}")
        first, last = (None if each is None else int(each) for each in parts.group(3, 4))
        try:
            found.append(suppression((parts[1], parts[2], first, first if last is None else last)))
        except ValueError as reason:
            raise ValueError(f"line {number}: {reason}") from None
    return found


class Directories:
    """The directory that make works in, from its output."""

    def __init__(self, enter: re.Pattern[str] | None, leave: re.Pattern[str] | None) -> None:
        self._enter, self._leave = enter, leave
        self._stack: list[str] = []

    def look(self, line: str) -> None:
        """Take in a line of make's output."""
        if self._enter is not None and (found := self._enter.match(line)) is not None:
            self._stack = [*self._stack[-100:], found[1]]
        elif self._leave is not None and self._leave.match(line) is not None and self._stack:
            self._stack.pop()

    def place(self, file: str) -> str:
        """The path of a file; a relative one is below make's directory."""
        return f"{self._stack[-1]}/{file}" if self._stack and not file.startswith("/") else file


def any_covers(rules: Sequence[Suppression], file: str | None, line: int | None, text: str) -> bool:
    """Whether a rule covers a warning, so that it does not count."""
    return any(each.covers(file, line, text) for each in rules)
