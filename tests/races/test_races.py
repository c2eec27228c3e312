"""Concurrency promises hold between masters (processes), not just within one."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tests.races import workers
from tests.support.building import add_requests
from tests.support.reactor import run
from tests.support.state import Database

#: masters that race, and how long; environment variables make the short form long
RACERS = int(os.environ.get("TENFOLD_RACERS", "3"))
ROUNDS = int(os.environ.get("TENFOLD_RACE_ROUNDS", "20"))
#: a round is some transactions of each racer
PATIENCE_S = 90 + RACERS * ROUNDS * 0.1

pytestmark = pytest.mark.timeout(PATIENCE_S + 30)


def race(url: str | None, works: Sequence[workers.Race]) -> list[list[Any]]:
    """Let processes race; for each work the results of the processes, in their order."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(RACERS), context.Queue()
    arguments = [(url, racer, ROUNDS, works, barrier, answers) for racer in range(RACERS)]
    processes = [context.Process(target=workers.enter, args=given, daemon=True) for given in arguments]
    for process in processes:
        process.start()
    found = sorted(answers.get(timeout=PATIENCE_S) for _ in processes)
    for process in processes:
        process.join(30)
    assert [error for _, _, error in found if error is not None] == []
    return [list(results) for results in zip(*(results for _, results, _ in found), strict=True)]


async def check_claims(judge: Any, won: list[list[list[int]]]) -> None:
    """Each id has exactly one winner; a claim of several ids is all or nothing, in any order of ids."""
    claimed = Counter(brid for groups in won for group in groups for brid in group)
    assert set(claimed.values()) == {1}
    found = await judge.db.buildrequests.getBuildRequests(claimed=True)
    names = {master["id"]: master["name"] for master in await judge.db.masters.getMasters()}
    winners = {brid: f"racer {racer}" for racer, groups in enumerate(won) for group in groups for brid in group}
    assert {request["brid"]: names[request["claimed_by_masterid"]] for request in found} == winners


async def check_set(judge: Any, told: list[list[int]]) -> None:
    """Each caller gets a value that was written; the stored value is one of them."""
    objectid = await judge.db.state.getObjectId("race", "Race")
    for number, values in enumerate(zip(*told, strict=True)):
        assert set(values) <= set(range(RACERS))
        assert await judge.db.state.getState(objectid, f"set {number}") in values


async def check_configuration(judge: Any, said: list[list[str]]) -> None:
    """The master's workers and builders are those of one caller's last call."""
    masterid = await judge.db.masters.findMasterId("configured")
    for plural in ("builders", "workers"):
        found = await judge.data.get({}, ("masters", masterid, plural))
        assert sorted(thing["name"] for thing in found) in said


def check_same(found: list[list[Any]]) -> None:
    """At most one value is ever stored, one row is ever made; every caller gets that."""
    assert all(other == found[0] for other in found[1:])


def test_races(shared_database: Database) -> None:
    """Claims, first writes of state, and rows found by name, between processes."""
    works = [workers.claims, workers.first_writes, workers.set_states, workers.names, workers.configurations]
    with shared_database.master("host:/judge") as judge:
        run(add_requests(judge, *(f"b{number}" for number in range(8 * ROUNDS))))
        won, made, told, ids, said = race(shared_database.url, works)
        run(check_claims(judge, won))
        run(check_set(judge, told))
        run(check_configuration(judge, said))
    check_same(made)
    check_same(ids)
    for column in zip(*ids[0], strict=True):
        assert len(set(column)) == ROUNDS
