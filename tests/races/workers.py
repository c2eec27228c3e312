"""The work of the racing processes: each opens the database as a master of its own and runs one of these functions."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults

from buildbot.db.exceptions import AlreadyClaimedError
from tests.support.reactor import run

#: builders and workers that the master of ``configurations`` may have
CONFIGURED = [f"c{number}" for number in range(4)]

Race = Callable[[Any, int, int], Awaitable[Any]]


async def claims(master: Any, racer: int, rounds: int) -> list[list[int]]:
    """Claim overlapping groups of requests in crossed orders; the groups that this master won."""
    found = await master.data.get({"fields": ["buildrequestid"]}, ("buildrequests",))
    ids = [request["buildrequestid"] for request in found]
    chance = random.Random(racer)
    won = []

    async def claim(group: list[int]) -> None:
        try:
            await master.db.buildrequests.claimBuildRequests(group)
        except AlreadyClaimedError:
            return
        won.append(group)

    for _ in range(rounds):
        groups = [chance.sample(ids, chance.randint(1, 4)) for _ in range(8)]
        for group in groups:
            chance.shuffle(group)
        await gatherResults([ensureDeferred(claim(group)) for group in groups])
    return won


async def first_writes(master: Any, racer: int, rounds: int) -> list[Any]:
    """Create values that do not exist; each call's result is stored."""
    objectid = await master.db.state.getObjectId("race", "Race")
    return [
        await master.db.state.atomicCreateState(objectid, f"atomic {number}", lambda: racer) for number in range(rounds)
    ]


async def set_states(master: Any, racer: int, rounds: int) -> list[Any]:
    """Set values that do not exist; each call's result is stored."""
    objectid = await master.db.state.getObjectId("race", "Race")
    return [await master.db.state.setState(objectid, f"set {number}", racer) for number in range(rounds)]


async def names(master: Any, racer: int, rounds: int) -> list[list[int]]:
    """Find or make everything that is found by name."""
    db = master.db
    finders: list[Callable[[str], Any]] = [
        db.masters.findMasterId,
        db.changesources.findChangeSourceId,
        db.schedulers.findSchedulerId,
        db.builders.findBuilderId,
        db.workers.findWorkerId,
        lambda name: db.users.findUserByAttr(name, "t", name),
        lambda name: db.state.getObjectId(name, "C"),
    ]
    order = list(range(rounds))
    random.Random(racer).shuffle(order)
    found: dict[int, list[int]] = {}
    for number in order:
        found[number] = await gatherResults([find(f"n{number}") for find in finders])
    return [found[number] for number in range(rounds)]


async def configurations(master: Any, racer: int, rounds: int) -> list[str]:
    """Say which builders and workers one and the same master has; the last that this racer said."""
    master.db.masterid = await master.db.masters.findMasterId("configured")
    update, chance = master.data.update, random.Random(racer)
    names: list[str] = []
    for _ in range(rounds):
        names = chance.sample(CONFIGURED, chance.randint(1, len(CONFIGURED)))
        ids = await update.setBuilders([{"name": name} for name in names])
        await update.setWorkers({name: ids.values() for name in names})
    return sorted(names)


def race(url: str, racer: int, rounds: int, works: Sequence[Race], barrier: Barrier) -> Any:
    """Open the database; wait for the others before each work and run it; gives the results."""
    from buildbot.master import openMaster

    patience_s = 100 + rounds * 0.5

    async def whole() -> Any:
        master = await openMaster(url, name=f"racer {racer}")
        try:
            await master.data.update.masterActive()
            results = []
            for work in works:
                barrier.wait(patience_s)
                results.append(await work(master, racer, rounds))
            return results
        finally:
            await master.close()

    return run(whole(), timeout_s=len(works) * patience_s)


def enter(url: str, racer: int, rounds: int, works: Sequence[Race], barrier: Barrier, answers: Any) -> None:
    """The process: puts ``(racer, results or None, error)`` into the queue."""
    try:
        answers.put((racer, race(url, racer, rounds, works, barrier), None))
    except BaseException as error:
        barrier.abort()
        answers.put((racer, None, repr(error)))
