"""The reactor as type checkers see it."""

from __future__ import annotations

from twisted.internet.interfaces import (
    IReactorCore,
    IReactorProcess,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
)


class IReactor(IReactorCore, IReactorTime, IReactorThreads, IReactorProcess, IReactorTCP):
    """The methods that a master calls of its reactor.

    Twisted's reactors have them, but do not declare this interface, so nothing asks whether one provides it.
    """
