"""Whole logs as plain downloads, read and sent a window of lines at a time (http-api 1.4)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from buildbot.www.errors import RefusedError
from buildbot.www.messages import Response

if TYPE_CHECKING:
    from buildbot.www.rest import Data

#: lines read from the database at a time
WINDOW_LINES = 2000

_PREFIX = re.compile(r"^.", re.MULTILINE)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\"\\/;]")


async def download(data: Data, path: tuple[str, ...], inline: bool) -> Response:
    """The log at ``path``, which ends in ``raw`` or ``raw_inline``.

    Stdio logs lose the letter that tells their streams apart and get three lines that say where they are from.

    Raises:
        RefusedError: 404, there is no such log.
    """
    log = await data.get({}, path)
    if log is None:
        raise RefusedError(404, f"not found: {'/'.join(path)}")
    origin = await _origin(data, log)
    kind = log["type"]
    content_type = "text/html" if kind == "h" else "text/plain"
    headers = [("Content-Type", f"{content_type}; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    if inline:
        # A build writes its logs: shown in a browser they must not act as pages of this server.
        headers.append(("Content-Security-Policy", "sandbox"))
    else:
        name = f"{origin['builder']}_build_{origin['number']}_step_{origin['step']}_log_{log['slug']}"
        headers.append(("Content-Disposition", f"attachment; filename={_header_text(name)}"))
    head = ""
    if kind == "s":
        head = f"Builder: {origin['builder']}\nBuild number: {origin['number']}\nWorker name: {origin['worker']}\n"
    return Response(200, tuple(headers), _lines(data, log["logid"], kind == "s", head))


async def _origin(data: Data, log: dict[str, Any]) -> dict[str, Any]:
    """Names of what wrote the log; ``unknown`` where the record is gone."""
    step = await data.get({}, ("steps", log["stepid"])) or {}
    build = await data.get({}, ("builds", step["buildid"])) if step else None
    build = build or {}
    builder = await data.get({}, ("builders", build["builderid"])) if build else None
    worker = await data.get({}, ("workers", build["workerid"])) if build.get("workerid") is not None else None
    return {
        "step": step.get("name", "unknown"),
        "number": build.get("number", "unknown"),
        "builder": (builder or {}).get("name", "unknown"),
        "worker": (worker or {}).get("name", "unknown"),
    }


async def _lines(data: Data, logid: int, prefixed: bool, head: str) -> AsyncGenerator[bytes, None]:
    if head:
        yield head.encode()
    first = 0
    while True:
        chunk = await data.get({"offset": first, "limit": WINDOW_LINES}, ("logs", logid, "contents"))
        content: str = chunk["content"] if chunk else ""
        if not content:
            return
        yield (_PREFIX.sub("", content) if prefixed else content).encode("utf-8", "replace")
        lines = content.count("\n")
        if lines < WINDOW_LINES:
            return
        first += lines


def _header_text(text: str) -> str:
    """``text`` fit for a header: Latin-1, and nothing that ends or splits the value."""
    return _UNSAFE.sub("_", text).encode("latin-1", "replace").decode("latin-1")
