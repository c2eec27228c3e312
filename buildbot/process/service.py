"""Services: parts that a configuration names in ``c['services']``, kept or changed by name when it is read again.

A service is a description at first: the constructor takes the arguments, and `BuildbotService.checkConfig` says what
is wrong with them. When the master runs, `BuildbotService.reconfigService` gets the same arguments, with secrets in
place of the renderables that stand for them. A reconfiguration makes new descriptions: if one describes what the
running service of its name was made with, that one stays; otherwise the running one takes the new arguments
(`ServiceManager`).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from buildbot.config.arguments import Declared, check_arguments, set_arguments
from buildbot.config.errors import error, location
from buildbot.db.held import thd_release, thd_take
from buildbot.interfaces import holds_renderable
from buildbot.process.properties import Properties
from buildbot.process.rendering import same_description
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred, resolved

_log = Logger()

#: seconds until a service that could not start is tried again
AGAIN_S = 60.0


@implementer(IService)
class AsyncMultiService(Service):
    """A service with others below it, whose start and stop wait for theirs.

    Attributes:
        master: the master that it runs in; that of the service above it.
    """

    master: Any = None

    def __init__(self) -> None:
        self.__children: list[Any] = []

    @property
    def services(self) -> list[Any]:
        """The services below it, in the order in which they start."""
        return list(self.__children)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.services)

    @deferred
    async def startService(self) -> None:
        """Start it and what is below it; Deferred."""
        Service.startService(self)
        for child in self.services:
            await maybeDeferred(child.startService)

    @deferred
    async def stopService(self) -> None:
        """Stop what is below it, the last one first, and then itself; Deferred."""
        Service.stopService(self)
        for child in reversed(self.services):
            await maybeDeferred(child.stopService)

    @deferred
    async def setServiceParent(self, parent: Any) -> None:
        """Put it below another service, in which it starts if that one runs; Deferred."""
        if self.parent is not None:
            await self.disownServiceParent()
        self.parent = parent
        await maybeDeferred(parent.addService, self)

    @deferred
    async def disownServiceParent(self) -> None:
        """Take it away from there; it stops. Deferred."""
        parent, self.parent = self.parent, None
        if parent is not None:
            await maybeDeferred(parent.removeService, self)

    def addService(self, service: Any) -> Deferred[Any]:
        """Put a service below this one; Deferred, which fires when it has started, if this one runs."""
        service.master = self.master
        self.__children.append(service)
        return maybeDeferred(service.startService) if self.running else succeed(None)

    def removeService(self, service: Any) -> Deferred[Any]:
        """Take a service away; Deferred, which fires when it has stopped."""
        self.__children.remove(service)
        return maybeDeferred(service.stopService) if service.running else succeed(None)

    def getServiceNamed(self, name: str) -> Any:
        """The service of a name below this one. Raises KeyError."""
        for child in self.__children:
            if child.name == name:
                return child
        raise KeyError(name)


class AsyncService(AsyncMultiService):
    """The same, for those who expect this name of services that have none below them."""


class BuildbotService(AsyncMultiService):
    """A service that a configuration describes.

    Args:
        name: unique among services; default: the class attribute.
        others: go to `checkConfig` now, and to `reconfigService` when the master runs.

    Attributes:
        master: the master that it runs in; set before `startService`.
        running: whether it has started.
        location: the line of the configuration that describes it; None outside of one.
    """

    name: Any = None
    #: the arguments by name whose renderables (`util.Secret`, …) are replaced before `reconfigService`
    secrets: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.location = location()
        name = kwargs.pop("name", None)
        if name is not None:
            self.name = name
        self.__args, self.__kwargs = args, kwargs
        #: the class that its arguments were given to; one defined in master.cfg is a new one each time
        self.__described_as = type(self)
        if self.name is None:
            raise ValueError(f"{type(self).__name__}: must have a name, as an argument or a class attribute")
        if not isinstance(self.name, str) or not self.name:
            error(f"{type(self).__name__}: name must be a text that is not empty, not {self.name!r}")
        self.checkConfig(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # what users' services override

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Report with `buildbot.config.error` what is wrong with the arguments; nothing is started or written.

        A class that overrides `reconfigService` and not this one takes the arguments that `reconfigService` takes.
        """
        if _takes_its_own(type(self)):
            _check_signature(self, args, kwargs)

    def reconfigService(self, *args: Any, **kwargs: Any) -> Any:
        """Take the arguments; called before the first start is over, and when they change. May return a Deferred."""

    def canReconfigWithSibling(self, sibling: BuildbotService) -> bool:
        """Whether it can go on with the arguments of ``sibling``; otherwise it stops and ``sibling`` starts."""
        return _qualified(self) == _qualified(sibling)

    # how the master runs it

    @deferred
    async def startService(self) -> None:
        """Take the arguments, then start it and what is below it; Deferred."""
        await self.configureService()
        await super().startService()

    @deferred
    async def configureService(self) -> None:
        """Take the arguments that it was made with; Deferred."""
        await self.__configure(self.__args, self.__kwargs)

    @deferred
    async def reconfigServiceWithSibling(self, sibling: BuildbotService) -> None:
        """Take the arguments of another one of its name, if they differ; Deferred."""
        if not self.is_described_by(sibling):
            self.__args, self.__kwargs = sibling.__args, sibling.__kwargs
            self.__described_as = type(sibling)
            await self.configureService()

    def is_described_by(self, sibling: BuildbotService) -> bool:
        """Whether ``sibling`` is of the same class and was made with the arguments that this one runs with."""
        return self.__described_as is type(sibling) and same_description(
            (self.name, self.__args, self.__kwargs), (sibling.name, sibling.__args, sibling.__kwargs)
        )

    async def __configure(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        given = dict(kwargs)
        for name in self.secrets:
            if name in given:
                given[name] = await self.__rendered(given[name])
        await resolved(self.reconfigService(*args, **given))

    @deferred
    async def renderSecrets(self, *args: Any) -> Any:
        """The values of renderables such as `util.Secret`; Deferred of one value, or of a list for several."""
        values = [await self.__rendered(each) for each in args]
        return values[0] if len(values) == 1 else values

    async def __rendered(self, value: Any) -> Any:
        if not holds_renderable(value):
            return value
        properties = Properties()
        properties.master = self.master
        return await properties.render(value)

    def getConfigDict(self) -> dict[str, Any]:
        """What pages are told of it."""
        return {"name": self.name}


class DeclaredService(BuildbotService, Declared):
    """A service whose arguments are declared (`buildbot.config.arguments`).

    A subclass may take further arguments in `checkConfig` and `reconfigService` of its own, and pass the others on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        BuildbotService.__init__(self, *args, **kwargs)

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Report what the declarations do not allow, or do not know.

        A class that overrides `reconfigService` and not this one, and names arguments there, takes those.
        """
        if _takes_its_own(type(self)):
            _check_signature(self, args, kwargs)
        else:
            check_arguments(self, self.by_name(args, kwargs), self.name)

    @deferred
    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        """Set the arguments as attributes; those that are not given have their defaults. Deferred."""
        given = self.by_name(args, kwargs)
        for name in self.secrets:
            if name in given:  # by position, too
                given[name] = await self.renderSecrets(given[name])
        set_arguments(self, given, self.name, self.secrets)


class SharedService(BuildbotService):
    """A service of which there is one for each class and arguments, made and started when it is first asked for."""

    @classmethod
    def getName(cls, *args: Any, **kwargs: Any) -> str:
        """The class's name with a hash of the arguments."""
        described = repr((args, sorted(kwargs.items())))
        return f"{cls.__name__}_{hashlib.sha256(described.encode()).hexdigest()[:24]}"

    @classmethod
    @deferred
    async def getService(cls, parent: Any, *args: Any, **kwargs: Any) -> Self:
        """The one with these arguments, started; it lives until the master stops. Deferred.

        Args:
            parent: the master, or a service in it.
        """
        name = cls.getName(*args, **kwargs)
        manager: ServiceManager = getattr(parent, "master", parent).service_manager
        found = manager.shared.get(name)
        if found is None:
            made = cls(*args, name=name, **kwargs)
            # callers that come meanwhile wait for the same start
            found = manager.shared[name] = made, made.setServiceParent(manager)
        service, starting = found
        if not starting.called:
            waiting: Deferred[None] = Deferred()
            starting.addBoth(_pass_on, waiting)
            await waiting
        assert isinstance(service, cls)
        return service


class ClusteredBuildbotService(BuildbotService):
    """A service that one of the masters which have it runs: the first that claims it; another, once that one is gone.

    A subclass overrides `activate` and `deactivate`. It may also say itself how it is claimed.
    """

    #: seconds between two tries to claim what another master has
    POLL_INTERVAL_SEC: ClassVar[float] = 60.0

    __active = False
    __poll: IDelayedCall | None = None
    __own_events: Any = None

    # what users' services override

    def activate(self) -> Any:
        """This master runs it from now on; may return a Deferred."""

    def deactivate(self) -> Any:
        """This master does not run it any more; may return a Deferred."""

    @deferred
    async def _getServiceId(self) -> int:
        """What is claimed: an object of the database with this name; Deferred."""
        found: int = await self.master.db.state.getObjectId(self.name, _qualified(self))
        return found

    @deferred
    async def _claimService(self) -> bool:
        """Claim it for this master; Deferred of whether that was possible."""
        db = self.master.db
        taken: bool = await db.pool.do(thd_take, db, await self._getServiceId())
        return taken

    @deferred
    async def _unclaimService(self) -> None:
        """Let others have it; Deferred."""
        db = self.master.db
        await db.pool.do(thd_release, db, await self._getServiceId())

    def isActive(self) -> bool:
        """Whether this master runs it."""
        return self.__active

    # how the master runs it

    @deferred
    async def startService(self) -> None:
        """Take the arguments; run it, if no other master does. Deferred."""
        await super().startService()
        key = ("masters", str(self.master.masterid), "stopped")
        self.__own_events = await self.master.mq.startConsuming(self.__taken_for_dead, key)
        await self.__try()

    @deferred
    async def stopService(self) -> None:
        """Stop it, and let others have it; Deferred."""
        if self.__own_events is not None:
            await maybeDeferred(self.__own_events.stopConsuming)
            self.__own_events = None
        if self.__poll is not None:
            self.__poll.cancel()
            self.__poll = None
        active, self.__active = self.__active, False
        if active:
            await resolved(self.deactivate())
            await resolved(self._unclaimService())
        await super().stopService()

    def __taken_for_dead(self, key: tuple[str, ...], message: Any) -> None:
        if self.__active:  # others may run it by now
            self.__active = False
            in_background(self.__put_down(), f"deactivating {self!r}")

    async def __put_down(self) -> None:
        try:
            await resolved(self.deactivate())
        finally:
            if self.__own_events is not None and self.__poll is None:
                self.__poll = self.master.reactor.callLater(self.POLL_INTERVAL_SEC, self.__again)

    async def __try(self) -> None:
        try:
            if await resolved(self._claimService()):
                self.__active = True
                await resolved(self.activate())
                return
        except Exception:
            _log.failure(
                "{service!r} could not be activated; next try in {s} s", service=self, s=self.POLL_INTERVAL_SEC
            )
            self.__active = False
        self.__poll = self.master.reactor.callLater(self.POLL_INTERVAL_SEC, self.__again)

    def __again(self) -> None:
        self.__poll = None
        in_background(self.__try(), f"activating {self!r}")


class ServiceManager(AsyncMultiService):
    """Runs the services of the configuration, and those that services share.

    Args:
        master: the master that they run in.

    Attributes:
        named: services by name, those below others included.
        shared: what `SharedService.getService` made, by name, with its start.
    """

    name = "services"

    def __init__(self, master: Any) -> None:
        super().__init__()
        self.master = master
        self.shared: dict[str, tuple[SharedService, Deferred[None]]] = {}
        self.__configured: dict[str, BuildbotService] = {}
        self.__failed: dict[str, BuildbotService] = {}
        self.__switching = DeferredLock()
        self.__again: IDelayedCall | None = None

    @property
    def named(self) -> Mapping[str, Any]:
        """All running services by name."""
        found: dict[str, Any] = {}
        _collect(self, found)
        return found

    async def configure(self, wanted: Sequence[BuildbotService]) -> None:
        """Make the services those of a configuration: first stop what is gone, then start what is new, then change.

        A service that fails is logged and tried again after a while; the others go on.
        """
        async with self.__switching:
            self.__cancel_again()
            self.__failed = {}
            by_name = {each.name: each for each in wanted}
            changed: list[tuple[BuildbotService, BuildbotService]] = []
            for name, service in list(self.__configured.items()):
                new = by_name.get(name)
                if new is None or not service.canReconfigWithSibling(new):
                    await self.__drop(service)
                elif not service.is_described_by(new):
                    changed.append((service, new))
            for name, new in by_name.items():
                if name not in self.__configured:
                    await self.__start(new)
            for service, new in changed:
                await self.__change(service, new)
            self.__try_again_later()

    @deferred
    async def stopService(self) -> None:
        """Stop all services, the shared ones last; Deferred."""
        async with self.__switching:
            self.__cancel_again()
            self.__failed = {}
            for service in reversed(list(self.__configured.values())):
                await self.__drop(service)
            await super().stopService()

    async def __start(self, service: BuildbotService) -> None:
        self.__configured[service.name] = service
        try:
            await service.setServiceParent(self)
        except Exception:
            _log.failure("{service!r} could not start; next try in {delay} s", service=service, delay=AGAIN_S)
            self.__failed[service.name] = service

    async def __change(self, service: BuildbotService, new: BuildbotService) -> None:
        try:
            await service.reconfigServiceWithSibling(new)
        except NotImplementedError:  # it does not change while it runs
            await self.__drop(service)
            await self.__start(new)
        except Exception:
            _log.failure("{service!r} could not take its new arguments", service=service)
            await self.__drop(service)
            self.__configured[new.name] = self.__failed[new.name] = new

    async def __drop(self, service: BuildbotService) -> None:
        self.__configured.pop(service.name, None)
        try:
            await service.disownServiceParent()
        except Exception:
            _log.failure("{service!r} could not be stopped cleanly", service=service)

    def __try_again_later(self) -> None:
        if self.__failed:
            self.__again = self.master.reactor.callLater(AGAIN_S, self.__begin_again)

    def __begin_again(self) -> None:
        self.__again = None
        in_background(self.__retry(), "starting services again")

    async def __retry(self) -> None:
        async with self.__switching:
            failed, self.__failed = self.__failed, {}
            for service in failed.values():
                await self.__drop(service)
                await self.__start(service)
            self.__try_again_later()

    def __cancel_again(self) -> None:
        if self.__again is not None:
            self.__again.cancel()
            self.__again = None


def _collect(parent: AsyncMultiService, found: dict[str, Any]) -> None:
    for child in parent.services:
        if child.name is not None:
            found.setdefault(child.name, child)
        if isinstance(child, AsyncMultiService):
            _collect(child, found)


def _pass_on(result: Any, waiting: Deferred[None]) -> Any:
    waiting.callback(None)
    return result


def _takes_its_own(kind: type[BuildbotService]) -> bool:
    """Whether ``reconfigService`` is overridden below ``checkConfig``, with arguments that it names."""
    below = kind.__mro__[: next(place for place, each in enumerate(kind.__mro__) if "checkConfig" in vars(each))]
    named = inspect.signature(kind.reconfigService).parameters.values()
    return any("reconfigService" in vars(each) for each in below) and any(
        each.name != "self" and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in named
    )


def _check_signature(service: BuildbotService, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Report arguments that `reconfigService` does not take."""
    try:
        inspect.signature(service.reconfigService).bind(*args, **kwargs)
    except TypeError as problem:
        error(f"{type(service).__name__} {service.name!r}: {problem}")


def _qualified(service: BuildbotService) -> str:
    return f"{type(service).__module__}.{type(service).__qualname__}"


__all__ = [
    "AsyncMultiService",
    "AsyncService",
    "BuildbotService",
    "ClusteredBuildbotService",
    "DeclaredService",
    "ServiceManager",
    "SharedService",
]
