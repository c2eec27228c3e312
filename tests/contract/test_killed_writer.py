"""What a master committed reaches the others, though it was killed before it could wake them."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.mq.tail import LOOK_INTERVAL_S, POLL_INTERVAL_S
from tests.support.events import listen


async def test_without_wake_up(state: Any, second_master: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and subscriptions of the others hear of its last commit at their next look, which is at most half a second
    away, on each database.
    """
    uid = await state.db.users.findUserByAttr("al", "email", "al@example.org")
    assert (await state.db.users.getUser(uid))["identifier"] == "al"
    listener = await listen(state, "changes")
    monkeypatch.setattr(second_master.mq.tail, "_notify", lambda: None)
    looks: list[int] = []
    tick = state.mq.tail._tick

    def noted() -> None:
        looks.append(state.mq.tail.position)
        tick()

    monkeypatch.setattr(state.mq.tail, "_tick", noted)
    await second_master.db.users.updateUser(uid, identifier="alice")
    await second_master.data.update.addChange(author="a")
    clock = await second_master.data.clock()
    await listener.until(clock)
    assert sum(position < clock for position in looks) <= 2, "the first look, or one that was under way, finds it"
    assert (await state.db.users.getUser(uid))["identifier"] == "alice"
    assert max(POLL_INTERVAL_S, LOOK_INTERVAL_S) <= 0.5
