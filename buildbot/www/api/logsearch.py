"""``GET /api/v2/logs/N/search?text=…``: which lines of a log have a text; an addition to the API.

A request looks at the log part by part, so its memory does not depend on the log's length, and stops when it has found
enough or has taken long enough; the reply says where to go on.
"""

from __future__ import annotations

import time
from typing import Any

from buildbot.www.errors import RefusedError
from buildbot.www.interfaces import Data

#: what a request may take; the part that is being looked at is finished
SECONDS = 0.25
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_TEXT = 500


def is_search(path: tuple[str, ...]) -> bool:
    """Whether a path below the API's root asks for this."""
    return len(path) == 3 and path[0] == "logs" and path[2] == "search"


async def search(data: Data, path: tuple[str, ...], parameters: list[tuple[str, str]]) -> tuple[dict[str, Any], int]:
    """What is found in the log, and the clock at which it was as long as that.

    Parameters of the query: ``text``, where capitals of ASCII do not count; ``after``, a line (from 0), to find later
    lines only; ``limit``, lines to find at most.

    Returns:
        ``{"logmatches": [{"line": 17, "text": "…"}, …], "meta": {"clock": …, "next": …}}`` and the clock. ``next`` is
        the ``after`` with which to go on, or None if the log was seen to its end.

    Raises:
        RefusedError: 400, a parameter is unknown, missing or wrong; 404, there is no such log.
    """
    text, after, limit = _asked(parameters)
    log, clock = await data.read({}, path[:2], lambda log, clock: (log, clock))
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
