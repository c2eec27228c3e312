"""Search for text in a log, some chunks at a time, in the thread that reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy.engine import Connection

if TYPE_CHECKING:
    from buildbot.db.logs import LogsConnectorComponent

#: the most characters of a found line that are given
MAX_SHOWN = 400
#: escape sequences of terminals, which may stand between two letters of a word; never across lines
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9:;<=>?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


class Found(NamedTuple):
    """The result of a search in a part of a log.

    Attributes:
        lines: ``(number, text)`` of lines, a number for each line once; numbers count from 0.
        next: the first line of the next part.
    """

    lines: list[tuple[int, str]]
    next: int


def thd_search(
    conn: Connection,
    logs: LogsConnectorComponent,
    logid: int,
    first_line: int,
    prefixed: bool,
    needle: bytes,
    most: int,
) -> Found | None:
    """Search for ``needle`` (lower case) from ``first_line`` on, in some chunks; None if the log has no such line.

    The case of ASCII letters and escape sequences in the log do not count.

    Args:
        prefixed: each line begins with the letter of its stream, which is not part of the text.
        most: lines to find; with as many in the result, there may be more.
    """
    part = logs.thdGetLogPart(conn, logid, first_line)
    if part is None:
        return None
    text, line, end = part
    if b"\x1b" in text:
        text = _ESCAPES.sub(b"", text)
    folded = text.lower()
    position = 0
    while line < first_line:  # the chunk begins before it
        position = text.index(b"\n", position) + 1
        line += 1
    lines: list[tuple[int, str]] = []
    while (at := folded.find(needle, position)) >= 0:
        line += text.count(b"\n", position, at)
        start = text.rfind(b"\n", 0, at) + 1
        stop = text.find(b"\n", at)
        if prefixed and at == start:
            # The letter of the stream is not text; the rest of the line may contain the needle.
            at = folded.find(needle, at + 1, stop)
            if at < 0:
                position, line = stop + 1, line + 1
                continue
        lines.append((line, _shown(text[start + prefixed : stop], at - start - prefixed)))
        position, line = stop + 1, line + 1
        if len(lines) == most:
            return Found(lines, line)
    return Found(lines, end)


def _shown(line: bytes, at: int) -> str:
    """The line, or the part of a long line with the found text."""
    if len(line) > MAX_SHOWN:
        start = max(at - 40, 0)
        line = line[start : start + MAX_SHOWN]
    return line.decode("utf-8", "replace").strip("\ufffd")
