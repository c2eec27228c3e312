"""Guessing passwords becomes slow, without an effect on others."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from buildbot.util import guessing
from buildbot.util.guessing import Guesses, TooManyGuessesError


class Desk:
    """Asks for turns, with time that a test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.guesses = Guesses(self.clock)

    def turn(self, address: str, name: str) -> Deferred[None]:
        return ensureDeferred(self.guesses.turn(address, name))

    def fail(self, address: str, *names: str) -> None:
        for name in names:
            self.guesses.wrong(address, name)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_user_who_mistypes_does_not_wait(desk: Desk) -> None:
    """A few failures are nothing."""
    desk.fail("a", "jo", "jo", "jo")
    assert desk.turn("a", "jo").called


def test_the_same_name_again_and_again(desk: Desk) -> None:
    """Each further failure doubles the wait, up to a limit; others and other addresses do not wait."""
    desk.fail("a", *["jo"] * 3)
    waits = []
    for _ in range(7):
        desk.fail("a", "jo")
        waiting, waited = desk.turn("a", "jo"), 0.0
        while not waiting.called:
            desk.clock.advance(0.5)
            waited += 0.5
        waits.append(waited)
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]
    desk.fail("a", "jo")
    assert desk.turn("b", "jo").called
    assert desk.turn("a", "al").called


def test_guesses_at_the_same_time(desk: Desk) -> None:
    """They are looked at one after the other, and more than a few are refused."""
    desk.fail("a", *["jo"] * 6)
    waiting = [desk.turn("a", "jo") for _ in range(guessing.MAX_WAITING)]
    refused: list[Any] = []
    desk.turn("a", "jo").addErrback(refused.append)
    assert refused[0].check(TooManyGuessesError)
    desk.clock.advance(2)
    assert [each.called for each in waiting[:3]] == [True, False, False]
    desk.clock.advance(2)
    assert [each.called for each in waiting[:3]] == [True, True, False]
    desk.clock.pump([2] * 8)
    assert all(each.called for each in waiting)


def test_many_names_from_one_address(desk: Desk) -> None:
    """Trying each name once does not help; a name that the address has proved to know does not wait."""
    desk.guesses.right("a", "known")
    desk.fail("a", *[f"n{number}" for number in range(guessing.FREE_OF_ADDRESS + 1)])
    assert not desk.turn("a", "another").called
    assert desk.turn("a", "known").called
    assert desk.turn("b", "another").called


def test_success_and_time_forgive(desk: Desk) -> None:
    """The right password ends the waits of that name, and so does a quarter of an hour."""
    desk.fail("a", *["jo"] * 9)
    desk.fail("a", *["al"] * 9)
    desk.guesses.right("a", "jo")
    assert desk.turn("a", "jo").called
    assert not desk.turn("a", "al").called
    desk.clock.advance(guessing.FORGOTTEN_S + 1)
    assert desk.turn("a", "al").called


def test_the_number_of_stored_addresses_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with many addresses does not fill the memory."""
    monkeypatch.setattr(guessing, "MAX_REMEMBERED", 10)
    for number in range(100):
        desk.fail(f"a{number}", "jo")
    assert len(desk.guesses._pairs) == len(desk.guesses._addresses) == 10


def test_a_network_of_ipv6_is_one_address(desk: Desk) -> None:
    """All addresses of one /64 count together; IPv4 within IPv6 is IPv4."""
    desk.fail("2001:db8:1:2::1", *["jo"] * (guessing.FREE_OF_PAIR + 1))
    assert not desk.turn("2001:db8:1:2:ffff::9", "jo").called
    assert desk.turn("2001:db8:1:3::1", "jo").called
    desk.fail("::ffff:192.0.2.1", *["jo"] * (guessing.FREE_OF_PAIR + 1))
    assert not desk.turn("192.0.2.1", "jo").called
    assert desk.turn("192.0.2.2", "jo").called
