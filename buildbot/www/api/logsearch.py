"""``GET /api/v2/logs/N/search?text=…``: the lines of a log that contain a text; an addition to Buildbot's API.

A request searches the log part by part, so its memory does not depend on the log's length. It stops at a number of
lines or after a time; the reply says where the next request begins.
"""

from __future__ import annotations

import time
from typing import Any

from buildbot.resources.logs import LogDict
from buildbot.www.errors import RefusedError
from buildbot.www.interfaces import Data

#: the limits of a request; it finishes the part that it is searching
SECONDS = 0.25
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_TEXT = 500


def is_search(path: tuple[str, ...]) -> bool:
    """Whether a path below the API's root is a search."""
    return len(path) == 3 and path[0] == "logs" and path[2] == "search"


async def search(data: Data, path: tuple[str, ...], parameters: list[tuple[str, str]]) -> tuple[dict[str, Any], int]:
    """Search a log; gives the lines, and the clock when the log had this length.

    Parameters of the query: ``text``, in which the case of ASCII letters does not count; ``after``: find only lines
    after this one (from 0); ``limit``: find at most this number of lines.

    Returns:
        ``{"logmatches": [{"line": 17, "text": "…"}, …], "meta": {"clock": …, "next": …}}`` and the clock. ``next`` is
        the ``after`` of the next request, or None if the log was searched to its end.

    Raises:
        RefusedError: 400, a parameter is unknown, missing or wrong; 404, there is no such log.
    """
    text, after, limit = _asked(parameters)
    log, clock = await data.read({}, path[:2], _log_at)
    if log is None:
        raise RefusedError(404, f"not found: {'/'.join(path)}")
    needle, prefixed = text.encode().lower(), log["type"] == "s"
    matches: list[dict[str, Any]] = []
    line, until = after + 1, time.monotonic() + SECONDS
    while line < log["num_lines"] and len(matches) < limit:
        found = await data.log_search(log["logid"], line, prefixed, needle, limit - len(matches))
        if found is None:
            line = log["num_lines"]
            break
        matches += [{"line": number, "text": shown} for number, shown in found.lines]
        line = found.next
        if time.monotonic() > until:
            break
    more = line - 1 if line < log["num_lines"] else None
    return {"logmatches": matches, "meta": {"clock": clock, "next": more}}, clock


def _log_at(log: LogDict | None, clock: int) -> tuple[LogDict | None, int]:
    return log, clock


def _asked(parameters: list[tuple[str, str]]) -> tuple[str, int, int]:
    given: dict[str, str] = {}
    for name, value in parameters:
        if name not in ("text", "after", "limit"):
            raise RefusedError(400, f"unrecognized query parameter '{name}'")
        if name in given:
            raise RefusedError(400, f"{name} is given twice")
        given[name] = value
    text = given.get("text", "")
    if not 0 < len(text) <= MAX_TEXT or "\n" in text:
        raise RefusedError(400, f"text must be one line of 1 to {MAX_TEXT} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError(400, "text has a lone surrogate")
    return text, _number(given, "after", -1, -1, 2**31 - 1), _number(given, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)


def _number(given: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 11) or not least <= int(text) <= most:
        raise RefusedError(400, f"{name} must be a number from {least} to {most}")
    return int(text)
