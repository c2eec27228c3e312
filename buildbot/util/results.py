"""Result codes of steps, builds, requests and buildsets."""

from __future__ import annotations

SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED = range(7)

ALL_RESULTS = [SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED]

#: their names
Results = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]

#: from harmless to grave: what decides the result of a whole from those of its parts
SEVERITY = {code: rank for rank, code in enumerate((SKIPPED, SUCCESS, WARNINGS, FAILURE, EXCEPTION, RETRY, CANCELLED))}


def worst_status(a: int, b: int) -> int:
    """The graver of two result codes; SKIPPED yields to SUCCESS, and every known code to an unknown one."""
    return a if SEVERITY.get(a, a) >= SEVERITY.get(b, b) else b


def statusToString(code: int | None) -> str:
    """The lower-case name of a result code; ``not finished`` for None, ``invalid status`` for an unknown one."""
    if code is None:
        return "not finished"
    if 0 <= code < len(Results):
        return Results[code]
    return "invalid status"
