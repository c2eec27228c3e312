"""Services of a configuration: kept, changed, started and stopped by name."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildbot.config import ConfigErrors, checks, error
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.clusteredservice import ClusteredBuildbotService
from buildbot.process.properties import renderer
from buildbot.process.service import BuildbotService, DeclaredService
from buildbot.process.servicemanager import RETRY_S, ServiceManager
from buildbot.process.sharedservice import SharedService
from buildbot.test.fake.fakedb import make_master
from buildbot.util import service as door


class Noted(BuildbotService):
    """A service that notes its calls."""

    secrets = ("token",)
    notes: list[Any] = []

    def checkConfig(self, size: int = 1, token: Any = None, fails: Any = None) -> None:
        if size < 1:
            error(f"{self.name}: size must be 1 or more")

    async def reconfigService(self, size: int = 1, token: Any = None, fails: Any = None) -> None:
        assert self.master is not None and not self.running
        self.notes.append((self.name, size, token))
        if fails:
            raise fails.pop()

    def startService(self) -> Any:
        self.notes.append((self.name, "start"))
        return super().startService()

    def stopService(self) -> Any:
        self.notes.append((self.name, "stop"))
        return super().stopService()


class Running(Noted):
    """The same, which may be running when it takes arguments."""

    def checkConfig(self, *args: Any, **kwargs: Any) -> None:
        """Takes anything."""

    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        self.notes.append((self.name, "takes", args, kwargs))


class Other(Running):
    """Of another class."""


class Unchangeable(BuildbotService):
    """Cannot change while it runs."""

    started: list[Any] = []

    async def reconfigService(self, size: int) -> None:
        if self.running:
            raise NotImplementedError
        self.started.append(size)


class Declares(DeclaredService):
    """Declares its arguments."""

    name = "declares"
    secrets = ("token",)
    positional = ("token", "size")

    token = argument(REQUIRED, checks.name, renderable=True, doc="a secret")
    size = argument(3, checks.whole_number(1), doc="how large")


def manager(reactor: Any = None) -> ServiceManager:
    """A running one in a master in memory."""
    master: Any = make_master(reactor)
    master.service_manager = made = ServiceManager(master)
    made.startService()
    Noted.notes = Running.notes = []
    return made


async def test_life() -> None:
    """A service with equal arguments is left alone, other arguments reconfigure it; removed services stop before new
    ones start.
    """
    services = manager()
    first = Running("x", name="a")
    await services.configure([first, Running(name="b", size=2)])
    assert Running.notes == [
        ("a", "start"), ("a", "takes", ("x",), {}),
        ("b", "start"), ("b", "takes", (), {"size": 2}),
    ]  # fmt: skip
    Running.notes.clear()
    await services.configure([Running("x", name="a"), Running(name="b", size=2)])
    assert Running.notes == []
    await services.configure([Running("y", name="a"), Running(name="c")])
    assert Running.notes == [("b", "stop"), ("c", "start"), ("c", "takes", (), {}), ("a", "takes", ("y",), {})]
    assert services.named["a"] is first and set(services.named) == {"a", "c"}
    Running.notes.clear()
    await services.configure([Running("y", name="a"), Other(name="c")])
    assert Running.notes == [("c", "stop"), ("c", "start"), ("c", "takes", (), {})]
    await services.stopService()
    assert Running.notes[-2:] == [("c", "stop"), ("a", "stop")]
    assert not first.running


async def test_one_that_cannot_change_is_started_anew() -> None:
    """NotImplementedError says that a service does not change while it runs."""
    services = manager()
    await services.configure([Unchangeable(1, name="u")])
    await services.configure([Unchangeable(2, name="u")])
    assert Unchangeable.started == [1, 2] and services.named["u"].running
    await services.stopService()


async def test_a_failing_service_does_not_hold_up_the_others() -> None:
    """It is tried again after a while."""
    clock = Clock()
    services = manager(clock)
    await services.configure([Noted(name="bad", fails=[OSError("not now")]), Noted(name="good")])
    assert not services.named["bad"].running and services.named["good"].running
    Noted.notes.clear()
    clock.advance(RETRY_S)
    assert services.named["bad"].running
    assert ("bad", 1, None) in Noted.notes and ("good", 1, None) not in Noted.notes
    await services.stopService()
    assert clock.getDelayedCalls() == []


async def test_renderables_that_stand_for_secrets() -> None:
    """Those of the arguments in ``secrets`` are replaced, given by name or by position."""

    @renderer
    def secret(props: Any) -> Any:
        assert props.master is services.master
        later: Deferred[str] = Deferred()
        services.master.reactor.callLater(0, later.callback, "hush")
        return later

    services = manager()
    declares = Declares(secret, size=4)
    await services.configure([Noted(name="n", token=secret), declares])
    assert ("n", 1, "hush") in Noted.notes
    assert (declares.token, declares.size) == ("hush", 4)
    await services.configure([Declares("plain")])
    assert (declares.token, declares.size) == ("plain", 3)
    await services.stopService()


def test_mistakes() -> None:
    """Arguments are looked at when the service is made."""
    with pytest.raises(ConfigErrors, match="n: size must be 1 or more"):
        Noted(name="n", size=0)
    with pytest.raises(ValueError, match="Noted: must have a name"):
        Noted()
    with pytest.raises(ConfigErrors, match="Declares 'declares': size must be at least 1, not 0"):
        Declares("t", 0)
    with pytest.raises(ConfigErrors, match=r"Declares 'declares': unknown argument 'siz'; did you mean 'size'\?"):
        Declares("t", siz=0)
    with pytest.raises(ConfigErrors, match=r"Declares 'declares': argument 'token' is missing \(a secret\)"):
        Declares()


async def test_a_value_that_is_known_only_later_is_not_shown() -> None:
    """A secret of the wrong kind is said without its value."""
    services = manager()
    declares = Declares(renderer(lambda props: 12345))
    declares.master = services.master
    with pytest.raises(ValueError, match="token has a value that is not allowed") as caught:
        await declares.configureService()
    assert "12345" not in str(caught.value)
    await services.stopService()


class Clustered(ClusteredBuildbotService):
    """Runs on one master."""

    name = "clustered"
    done: list[str] = []

    async def activate(self) -> None:
        self.done.append("activate")

    async def deactivate(self) -> None:
        self.done.append("deactivate")


async def test_a_service_of_one_master() -> None:
    """It is active where it could be claimed; elsewhere it waits until the other master is gone."""
    clock = Clock()
    services = manager(clock)
    service = Clustered()
    master = services.master
    objectid = await master.db.state.getObjectId("clustered", f"{Clustered.__module__}.{Clustered.__qualname__}")
    other = await master.db.masters.findMasterId("other:/master")
    await master.db.masters.setMasterState(other, True)
    epoch = await master.db.pool.read(master.db.masters.thdGetEpoch, other)
    await master.db.state.setState(objectid, "held_by", [other, epoch])
    await services.configure([service])
    assert not service.isActive() and Clustered.done == []
    await master.db.masters.setMasterState(other, False)
    clock.advance(Clustered.POLL_INTERVAL_SEC)
    assert service.isActive() and Clustered.done == ["activate"]
    await master.db.masters.setMasterState(master.masterid, False)
    await master.mq.produce(("masters", str(master.masterid), "stopped"), {})
    clock.pump([0.0] * 10)
    assert not service.isActive() and Clustered.done == ["activate", "deactivate"]
    await master.data.update.masterActive()
    clock.advance(Clustered.POLL_INTERVAL_SEC)
    assert service.isActive()
    await services.stopService()
    assert Clustered.done == ["activate", "deactivate"] * 2
    assert await master.db.state.getState(objectid, "held_by") is None
    assert clock.getDelayedCalls() == []


class Shared(SharedService):
    """A service that is shared by its users with equal arguments."""

    async def reconfigService(self, *args: Any) -> None:
        self.args = args


async def test_shared_services() -> None:
    """There is one for each class and arguments; it stops with the master, after its users."""
    services = manager()
    user = Noted(name="user")
    await services.configure([user])
    one = await Shared.getService(user, "x")
    assert await Shared.getService(services.master, "x") is one and one.args == ("x",)
    assert await Shared.getService(user, "y") is not one
    await services.stopService()
    assert not one.running


def test_the_public_path() -> None:
    """Plugins import services from `buildbot.util.service`."""
    assert door.BuildbotService is BuildbotService
    assert door.BuildbotServiceManager is ServiceManager
