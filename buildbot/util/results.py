"""Result codes of steps, builds, requests and buildsets."""

from __future__ import annotations

from typing import Any

SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED = range(7)

ALL_RESULTS = [SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED]

#: their names
Results = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]

#: from harmless to grave: the worst result of the parts is the result of the whole
SEVERITY = {code: rank for rank, code in enumerate((SKIPPED, SUCCESS, WARNINGS, FAILURE, EXCEPTION, RETRY, CANCELLED))}


def worst_status(a: int, b: int) -> int:
    """The graver of two result codes; SKIPPED yields to SUCCESS, and every known code to an unknown one."""
    return a if SEVERITY.get(a, a) >= SEVERITY.get(b, b) else b


class ResultComputingConfigMixin:
    """A part whose result counts for the result of the whole."""

    haltOnFailure: Any = False
    flunkOnWarnings: Any = False
    flunkOnFailure: Any = True
    warnOnWarnings: Any = False
    warnOnFailure: Any = False

    resultConfig = ("haltOnFailure", "flunkOnWarnings", "flunkOnFailure", "warnOnWarnings", "warnOnFailure")


def computeResultAndTermination(obj: Any, result: int, previousResult: int) -> tuple[int, bool]:
    """How the result of a part counts for a whole.

    Args:
        obj: the part, with the flags of `ResultComputingConfigMixin`.
        result: its result code.
        previousResult: the whole's, without it.

    Returns:
        The whole's result code with it, and whether it ends the whole.
    """
    counts, ends = SKIPPED, False
    if result == FAILURE:
        counts = FAILURE if obj.flunkOnFailure else WARNINGS if obj.warnOnFailure else SKIPPED
        ends = bool(obj.haltOnFailure)
    elif result == WARNINGS:
        counts = FAILURE if obj.flunkOnWarnings else WARNINGS if obj.warnOnWarnings else SKIPPED
    elif result in (EXCEPTION, RETRY, CANCELLED):
        counts, ends = result, True
    return worst_status(previousResult, counts), ends


def statusToString(code: int | None) -> str:
    """The lower-case name of a result code; ``not finished`` for None, ``invalid status`` for an unknown one."""
    if code is None:
        return "not finished"
    if 0 <= code < len(Results):
        return Results[code]
    return "invalid status"
