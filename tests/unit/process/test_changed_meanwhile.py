"""The world around a build changes at each of its writes: the configuration, or the connection of its worker.

Afterwards the first configuration is there again, and the request must be built: nothing is lost, left open, or held.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, succeed

from buildbot.config.builder import BuilderConfig
from buildbot.config.locks import MasterLock
from buildbot.db.pool import DBThreadPool
from buildbot.process.factory import BuildFactory
from buildbot.process.services import ProcessLayer
from buildbot.process.workers.connection import WorkerLostError
from buildbot.process.workers.managed import ManagedWorker
from buildbot.steps.master import SetProperty
from buildbot.steps.shell import ShellCommand
from buildbot.test.fake.fakedb import make_master
from buildbot.test.running import Running, until
from buildbot.test.steps import ScriptedConnection
from buildbot.util.results import RETRY, SUCCESS
from buildbot.worker.base import Worker
from tests.unit.process.test_services import config

LOCK = MasterLock("of the builder")


def configured(builder: str = "b1", worker: str = "w", count: int = 1, workers: str = "wv", **of_workers: Any) -> Any:
    """A configuration with one builder."""
    steps = [
        SetProperty(property="a", value="b"),
        ShellCommand(command="make", locks=[MasterLock("of the step", maxCount=count).access("counting")]),
    ]
    one = BuilderConfig(
        name=builder, workernames=[worker], factory=BuildFactory(steps), locks=[LOCK.access("exclusive")]
    )
    given = config(builders=[], workers=[Worker(name, "p", **of_workers) for name in workers])
    given.builders = [one]
    return given


class Place:
    """A process layer in which a request is built."""

    def __init__(self, tmp_path: Path) -> None:
        self.state = make_master()
        self.layer = ProcessLayer(Running(self.state, tmp_path))  # type: ignore[arg-type]
        self.layer._distributor.rest_s = 0.001

    def workers(self) -> list[ManagedWorker]:
        """The worker that builds; none while the master stops."""
        return [each for each in self.layer.workers.workers.values() if each.name == "w"]

    async def connect(self) -> None:
        """Every worker that is not connected comes."""
        for worker in self.layer.workers.workers.values():
            if worker.connection is None:
                await worker.attach(ScriptedConnection())

    async def close(self) -> None:
        await self.layer.stop()
        self.state.mq.stop()
        self.state.db.close()


Change = Callable[[Place], Coroutine[Any, Any, None]]


async def cut(place: Place) -> None:
    """The link is lost, and the worker comes back at once."""
    for worker in place.workers():
        if worker.connection is not None:
            worker.connection.closed("cable cut")
        await worker.attach(ScriptedConnection())


async def taken_over(place: Place) -> None:
    """The worker comes a second time, while its first link is dead and the master does not know it yet."""
    for worker in place.workers():
        older = worker.connection

        async def dead(older: Any = older) -> None:
            older.closed("reset")
            raise WorkerLostError("reset")

        if older is not None:
            older.ping = dead  # type: ignore[method-assign]
        await worker.attach(ScriptedConnection())


async def graceful(place: Place) -> None:
    """The worker asks to be shut down after its builds."""
    for worker in place.workers():
        await worker.ask_graceful()


def reconfigured(**values: Any) -> Change:
    async def change(place: Place) -> None:
        await place.layer.reconfigure(configured(**values))

    return change


async def twice(place: Place) -> None:
    """Two configurations in quick succession, the second one the old one."""
    both = [ensureDeferred(place.layer.reconfigure(configured(builder=name))) for name in ("b2", "b1")]
    for each in both:
        await each


CHANGES: dict[str, Change] = {
    "cut": cut,
    "taken over": taken_over,
    "graceful": graceful,
    "removed": reconfigured(builder="b2"),
    "moved": reconfigured(worker="v"),
    "worker removed": reconfigured(worker="v", workers="v"),
    "properties": reconfigured(properties={"a": 1}, max_builds=1, keepalive_interval=None),
    "locks": reconfigured(count=3),
    "twice": twice,
}


@contextmanager
def changed_at(moment: int, is_after: bool, begin: Callable[[], None]) -> Iterator[None]:
    """Call ``begin`` before or after a call of the database or of the agent, counted from 0."""
    left = moment

    def counted(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            is_now = left == -1
            if is_now and not is_after:
                begin()
            result = method(*args, **kwargs)
            if is_now and is_after:
                begin()
            return result

        return call

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DBThreadPool, "_submit", counted(DBThreadPool._submit))
        for name in ("ping", "start_command"):
            patched.setattr(ScriptedConnection, name, counted(getattr(ScriptedConnection, name)))
        yield


async def moments(
    tmp_path: Path, change: Change, is_after: bool, go_on: Callable[[Place, int, list[Deferred[None]]], Any]
) -> int:
    """Change something at one moment after the other of a build, each time with a new master; gives their number.

    Args:
        go_on: called with the id of the request, while it is built; gets the change once it has begun.
    """
    moment, is_reached = 0, True
    while is_reached:
        place = Place(tmp_path)
        await place.layer.start(configured())
        await place.connect()
        changing: list[Deferred[None]] = []
        stamps = [{"codebase": ""}]
        _, brids = await place.state.data.update.addBuildset(sourcestamps=stamps, reason="", builderNames=["b1"])

        def begin(place: Place = place, changing: list[Deferred[None]] = changing) -> None:
            changing.append(ensureDeferred(change(place)))

        with changed_at(moment, is_after, begin):
            await go_on(place, brids["b1"], changing)
        is_reached = bool(changing)
        for each in changing:
            await each
        await judge(place, brids["b1"])
        await place.close()
        moment += 1
    return moment


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_change(change: Change, is_after: bool, tmp_path: Path) -> None:
    """Whatever changes before or after any call of the database or of the agent, the request is built in the end, and
    everything else is closed.
    """
    assert await moments(tmp_path, change, is_after, built) > 10


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_change_before_the_stop(change: Change, is_after: bool, tmp_path: Path) -> None:
    """If the master stops right after the change, its builds have ended, and it has no claims."""

    async def stopped(place: Place, brid: int, changing: list[Deferred[None]]) -> None:
        async def has_begun() -> bool:
            return bool(changing) or bool((await place.state.data.get({}, ("buildrequests", brid)))["complete"])

        await until(has_begun)
        for each in changing:
            await each
        await place.layer.stop()

    assert await moments(tmp_path, change, is_after, stopped) > 10


async def built(place: Place, brid: int, changing: list[Deferred[None]]) -> None:
    """The request is complete; after the change the first configuration and the workers come back."""
    is_back = False

    async def is_built() -> bool:
        nonlocal is_back
        if changing and changing[0].called and not is_back:
            is_back = True
            await place.layer.reconfigure(configured())
            await place.connect()
        return bool((await place.state.data.get({}, ("buildrequests", brid)))["complete"])

    await until(is_built)


async def judge(place: Place, brid: int) -> None:
    """The request was built, unless its master was stopped before; and nothing is left of it."""
    data, layer = place.state.data, place.layer
    is_running = bool(layer.builders)
    await until(lambda: succeed(not layer._running()))
    request = await data.get({}, ("buildrequests", brid))
    builds = await data.get({}, ("builds",))
    found = [build["results"] for build in builds]
    if is_running or request["complete"]:
        assert request["results"] == found.pop() == SUCCESS
    assert set(found) <= {RETRY} and (request["complete"] or not request["claimed"])
    for build in builds:
        steps = await data.get({}, ("builds", build["buildid"], "steps"))
        assert build["complete"] and all(step["complete"] for step in steps)
    assert list(layer._distributor.locks) == []
    if is_running:
        await layer.reconfigure(configured())
        await place.connect()
    assert all(worker.builds == {} for worker in layer.workers.workers.values())
    assert all(bool(worker["connected_to"]) == is_running for worker in await data.get({}, ("workers",)))
