"""The requests that are measured, with the goal of each (the requirement's table, Speed)."""

from __future__ import annotations

from dataclasses import dataclass

#: SQL statements that one request may take
STATEMENTS = 4
#: CPU milliseconds of an answer that nothing has changed since
UNCHANGED_MS = 0.15
#: MB of memory, idle and after the load; seconds from the start to the first answer
IDLE_MB, LOADED_MB, FIRST_S = 80, 120, 2.0
#: requests that wait when the first answer is timed
PENDING = 20_000


@dataclass(frozen=True)
class HttpItem:
    """One kind of request.

    Attributes:
        name: what ``--only`` and the JSON file call it.
        path: below ``/api/v2``; ``{n}`` is a number that is another one at each request.
        goal_ms: CPU milliseconds of the server.
        numbers: how many values ``{n}`` has, from 1 on.
    """

    name: str
    path: str
    goal_ms: float
    numbers: int = 1


HTTP_ITEMS = (
    HttpItem("builds_recent", "builds?limit=50&order=-buildid", 1.0),
    HttpItem("builders_count", "builders?limit=0", 0.6),
    HttpItem("builders", "builders", 1.2),
    HttpItem("builder_builds", "builders/{n}/builds?limit=20&order=-number", 0.7, 100),
    HttpItem("builds_running", "builds?complete=false", 0.8),
    HttpItem("builds_failed", "builds?results=2&order=-started_at&limit=100", 1.5),
    HttpItem("changes_recent", "changes?limit=50&order=-changeid", 2.0),
    HttpItem("requests_pending", "buildrequests?claimed=false", 5.0),
    HttpItem("build", "builds/{n}", 0.3, 9_000),
    HttpItem("build_steps", "builds/{n}/steps", 0.4, 9_000),
    HttpItem("log_contents", "logs/1/contents?offset={n}&limit=200", 0.8, 19_000),
    HttpItem("log_raw", "logs/1/raw", 8.0),
    HttpItem("requests_recent", "buildrequests?limit=50&order=-submitted_at", 1.0),
    HttpItem("builds_property", "builds?property=owner&limit=50&order=-buildid", 1.2),
)

BY_NAME = {item.name: item for item in HTTP_ITEMS}


def chosen(only: str) -> list[HttpItem]:
    """The items whose name begins with one of some prefixes, separated by commas; all for the empty text.

    Raises ValueError for a prefix that no item has.
    """
    prefixes = [prefix for prefix in only.split(",") if prefix]
    for prefix in prefixes:
        if not any(item.name.startswith(prefix) for item in HTTP_ITEMS):
            raise ValueError(f"no item begins with {prefix!r}; there are {', '.join(BY_NAME)}")
    return [item for item in HTTP_ITEMS if not prefixes or item.name.startswith(tuple(prefixes))]
