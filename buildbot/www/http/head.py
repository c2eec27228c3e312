"""The head of an answer, as bytes."""

from __future__ import annotations

from http import HTTPStatus

from buildbot.www.http.messages import Response

#: statuses that never have a body
BODILESS = frozenset({101, 204, 304})

_UNSAFE = dict.fromkeys((*range(32), 127), " ")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}


def head(response: Response, method: str, version: str, keep_alive: bool, length: int | None, date: str) -> bytes:
    """The status line and the header fields of an answer.

    Args:
        response: the response.
        method, version: of the request.
        keep_alive: whether the connection serves another request.
        length: of the body; None: it is a stream.
        date: the value of the field ``Date``.
    """
    lines = [_STATUS_LINES[response.status]]
    for name, value in response.headers:
        line = f"{name}: {value}"
        # A value that would end its line could add fields, or another answer.
        lines.append(line if line.isprintable() else line.translate(_UNSAFE))
    if length is None:
        if method != "HEAD" and version == "1.1":
            lines.append("Transfer-Encoding: chunked")
    elif response.status not in BODILESS:
        lines.append(f"Content-Length: {length}")
    if not keep_alive:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    lines.append(date)
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1", "replace")
