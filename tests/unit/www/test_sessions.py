"""Connections end with the session on whose behalf they are open."""

from __future__ import annotations

from twisted.internet.task import Clock

from buildbot.util import clock
from buildbot.www.sessions import ANONYMOUS, SessionConnections, Visitor


def visitor(sessionid: int, lifetime_s: int = 60) -> Visitor:
    return Visitor({"username": "joe"}, sessionid, clock.now() + lifetime_s)


def test_end() -> None:
    """All connections of a session are closed when it ends, and no others."""
    holds, closed = SessionConnections(Clock()), []
    for sessionid, name in ((1, "a"), (1, "b"), (2, "c")):
        holds.hold(visitor(sessionid), lambda name=name: closed.append(name))  # type: ignore[misc]
    holds.hold(ANONYMOUS, lambda: closed.append("nobody"))
    holds.ended(("sessions", "1", "ended"), {})
    assert sorted(closed) == ["a", "b"]


def test_expiry() -> None:
    """A connection does not outlive its session."""
    reactor = Clock()
    holds, closed = SessionConnections(reactor), []
    holds.hold(visitor(1, 60), lambda: closed.append(1))
    reactor.advance(58)
    assert closed == []
    reactor.advance(3)
    assert closed == [1]


def test_release() -> None:
    """A connection that is gone is not closed again, and leaves nothing behind."""
    reactor = Clock()
    holds, closed = SessionConnections(reactor), []
    release = holds.hold(visitor(1), lambda: closed.append(1))
    release()
    holds.ended(("sessions", "1", "ended"), {})
    assert (closed, reactor.getDelayedCalls()) == ([], [])


def test_late() -> None:
    """One that was still on its way in when the session ended is closed as soon as it is there."""
    reactor = Clock()
    holds, closed = SessionConnections(reactor), []
    holds.ended(("sessions", "1", "ended"), {})
    holds.hold(visitor(1), lambda: closed.append(1))
    reactor.advance(0)
    assert closed == [1]
