"""Sessions, and deliveries of change hooks: what masters share about their visitors."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from buildbot.db import deliveries
from buildbot.util import clock
from tests.support.events import expecting

USER = {"username": "joe", "groups": ["a"], "full_name": "Jöe 🏠"}


async def test_session(state: Any) -> None:
    """A session is found by its token, on every master, until it is ended."""
    sessions = state.db.sessions
    first = await sessions.addSession("token", USER, 60)
    second = await sessions.addSession("tokem", {"username": "ann"}, 60)
    found = await sessions.getSession("token")
    assert (found["sessionid"], found["user_info"]) == (first, USER)
    assert 0 < found["expires_at"] - clock.now() <= 60
    await sessions.endSession(first)
    assert await sessions.getSession("token") is None
    assert (await sessions.getSession("tokem"))["sessionid"] == second


async def test_end_is_announced(state: Any) -> None:
    """The end of a session is an event, so that other masters close what they hold for it; it tells no secret."""
    sessionid = await state.db.sessions.addSession("token", USER, 60)
    heard = await expecting(state, "sessions", str(sessionid), "ended")
    await state.db.sessions.endSession(sessionid)
    assert await heard == (("sessions", str(sessionid), "ended"), {"sessionid": sessionid})
    await state.db.sessions.endSession(sessionid)


async def test_expired_sessions_go(state: Any) -> None:
    """A new session takes those away that have expired."""
    await state.db.sessions.addSession("old", USER, -1)
    await state.db.sessions.addSession("new", USER, 60)
    assert await state.db.sessions.getSession("old") is None


async def test_delivery_counts_once(state: Any) -> None:
    """Of racing calls with one delivery one adds its changes; a later one adds nothing."""
    change = {"author": "a", "comments": "c", "files": []}
    added = await gatherResults([state.data.update.addChanges([change, change], "x") for _ in range(4)])
    assert sorted(map(len, added)) == [0, 0, 0, 2]
    assert await state.data.update.addChanges([change], "x") == []
    assert len(await state.data.update.addChanges([change], "y")) == 1
    assert len(await state.data.update.addChanges([change])) == 1


async def test_failed_delivery_is_not_remembered(state: Any) -> None:
    """All or nothing: where one change cannot be stored, the delivery may come again."""
    change = {"author": "a", "comments": "c", "files": []}
    with pytest.raises(ValueError):
        await state.data.update.addChanges([change, {**change, "comments": "\0"}], "x")
    assert len(await state.data.update.addChanges([change], "x")) == 1


async def test_a_line_is_followed_by_its_deliveries(state: Any) -> None:
    """A delivery that a line had last adds nothing to it, however many come at once; after another one it is news."""
    lines: dict[str, list[dict[str, str]]] = {"main": [{"author": "a", "comments": "c"}], "gone": []}
    for name, expected in (("x", 1), ("x", 0), ("y", 1), ("x", 1)):
        added = await gatherResults([state.data.update.addDelivery(lines, name) for _ in range(4)])
        assert sum(map(len, added)) == expected
    other = {"main": lines["main"], "gone": lines["main"]}
    assert len(await state.data.update.addDelivery(other, "x")) == 0
    assert len(await state.data.update.addDelivery({"gone": []}, "z")) == 0
    assert len(await state.data.update.addDelivery(other, "x")) == 1


async def test_old_deliveries_are_forgotten(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are remembered for a month."""
    change = {"author": "a", "comments": "c", "files": []}
    await state.data.update.addChanges([change], "x")
    monkeypatch.setattr(deliveries, "REMEMBERED_S", -1)
    assert len(await state.data.update.addChanges([change], "x")) == 1
