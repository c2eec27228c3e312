"""Work in the background, whose failures are logged."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()


def in_background(work: Coroutine[Deferred[Any], Any, Any], what: str) -> Deferred[Any]:
    """Run ``work``; a failure is logged as that of ``what``.

    Returns:
        Deferred that fires, never with a failure, when the work has ended; cancelling it cancels the work.
    """

    def failed(failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            _log.failure("{what} failed", failure, what=what)

    return ensureDeferred(work).addErrback(failed)
