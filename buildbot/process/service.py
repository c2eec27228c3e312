"""Services: parts that a configuration names in ``c['services']``, kept or changed by name when it is read again.

A service is a description at first: the constructor takes the arguments, and `BuildbotService.checkConfig` says what
is wrong with them. When the master runs, `BuildbotService.reconfigService` gets the same arguments, with secrets in
place of the renderables that stand for them. A reconfiguration makes new descriptions: if one describes what the
running service of its name was made with, that one stays; otherwise the running one takes the new arguments
(`buildbot.process.servicemanager`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from buildbot.config.arguments import Declared, check_arguments, set_arguments
from buildbot.config.errors import error, location
from buildbot.interfaces import holds_renderable
from buildbot.process.multiservice import AsyncMultiService
from buildbot.process.properties import Properties
from buildbot.process.rendering import same_description
from buildbot.process.servicemaster import ServiceMaster
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.later import set_later


class BuildbotService(AsyncMultiService):
    """A service that a configuration describes.

    Args:
        name: unique among services; default: the class attribute.
        others: given to `checkConfig` now, and to `reconfigService` when the master runs.

    Attributes:
        master: the master that it runs in; set before `startService`.
        running: whether it has started.
        location: the line of the configuration that names it; None outside a configuration.
    """

    master: ServiceMaster = set_later()
    name: str = set_later()
    #: the arguments by name whose renderables (`util.Secret`, …) are replaced before `reconfigService`
    secrets: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.location = location()
        name = kwargs.pop("name", None)
        if name is not None:
            self.name = name
        self.__args, self.__kwargs = args, kwargs
        #: the class that its arguments were given to; a class in master.cfg is a new one with each reconfiguration
        self.__described_as = type(self)
        given: object = self.name
        if given is None:
            raise ValueError(f"{type(self).__name__}: must have a name, as an argument or a class attribute")
        if not isinstance(given, str) or not given:
            error(f"{type(self).__name__}: name must be a text that is not empty, not {given!r}")
        self.checkConfig(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # users' services override these

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments; report each mistake with `buildbot.config.error`. Start and write nothing.

        A class that overrides `reconfigService` and not this one takes the arguments that `reconfigService` takes.
        """
        if _names_its_arguments(type(self)):
            _check_signature(self, args, kwargs)

    def reconfigService(self, *args: Any, **kwargs: Any) -> object:
        """Take the arguments; called before the first start is over, and when they change. May return a Deferred."""

    def canReconfigWithSibling(self, sibling: BuildbotService) -> bool:
        """Whether it can take the arguments of ``sibling`` while it runs; if not, it stops and ``sibling`` starts."""
        return qualified_name(self) == qualified_name(sibling)

    # the master calls these

    @deferred
    async def startService(self) -> None:
        """Take the arguments, then start it and what is below it; Deferred."""
        await self.configureService()
        await super().startService()

    @deferred
    async def configureService(self) -> None:
        """Call `reconfigService` with the arguments of the constructor; Deferred."""
        await self.__configure(self.__args, self.__kwargs)

    @deferred
    async def reconfigServiceWithSibling(self, sibling: BuildbotService) -> None:
        """Take the arguments of another service of this name, if they differ; Deferred."""
        if not self.is_described_by(sibling):
            self.__args, self.__kwargs = sibling.__args, sibling.__kwargs
            self.__described_as = type(sibling)
            await self.configureService()

    def is_described_by(self, sibling: BuildbotService) -> bool:
        """Whether ``sibling`` has the class and the arguments that this service runs with."""
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

    async def __rendered(self, value: object) -> object:
        if not holds_renderable(value):
            return value
        properties = Properties()
        properties.master = self.master
        return await properties.render(value)

    def getConfigDict(self) -> dict[str, Any]:
        """The description that pages show."""
        return {"name": self.name}


class DeclaredService(BuildbotService, Declared):
    """A service whose arguments are declared (`buildbot.config.arguments`).

    A subclass may take further arguments in `checkConfig` and `reconfigService` of its own, and pass the others on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        BuildbotService.__init__(self, *args, **kwargs)

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Report values that the declarations do not allow, and names that they do not have.

        A class that overrides `reconfigService` and not this one, and names arguments there, takes those.
        """
        if _names_its_arguments(type(self)):
            _check_signature(self, args, kwargs)
        else:
            check_arguments(self, self.by_name(args, kwargs), self.name)

    @deferred
    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        """Set the arguments as attributes; the others have their defaults. Deferred."""
        given = self.by_name(args, kwargs)
        for name in self.secrets:
            if name in given:  # by position, too
                given[name] = await self.renderSecrets(given[name])
        set_arguments(self, given, self.name, self.secrets)


def qualified_name(service: BuildbotService) -> str:
    """Module and name of the class of a service."""
    return f"{type(service).__module__}.{type(service).__qualname__}"


def _names_its_arguments(kind: type[BuildbotService]) -> bool:
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
