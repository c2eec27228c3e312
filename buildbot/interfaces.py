"""The interfaces of objects that configurations supply, as Protocols: recognised by their methods, not their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeGuard, runtime_checkable

from zope.interface import Attribute, Interface


class PropertiesLike(Protocol):
    """The properties that a value is rendered with; `buildbot.process.properties.Properties` is the class."""

    def getProperty(self, name: str, default: Any = None) -> Any:
        """The value of a property; ``default`` if there is none."""

    def hasProperty(self, name: str) -> bool:
        """Whether there is a property of this name."""


class RenderableLike(Protocol):
    """A value that becomes known when a build runs."""

    def getRenderingFor(self, props: Any) -> Any:
        """The value for these properties (`PropertiesLike`), or a Deferred or coroutine that gives it."""


# Interfaces that users' classes declare (``@implementer(IRenderable)``) and ask for, as in
# ``IRenderable.providedBy(value)``. Nothing here depends on it: what has the methods will do.


class IRenderable(Interface):
    """A value that becomes known when a build runs."""

    def getRenderingFor(props: Any) -> Any:
        """The value for these properties, or a Deferred or coroutine that gives it."""


class IProperties(Interface):
    """An object with properties: `buildbot.process.properties.Properties`, builds and steps."""

    def getProperty(name: str, default: Any = None) -> Any:
        """The value of a property; ``default`` if there is none."""

    def hasProperty(name: str) -> bool:
        """Whether there is a property of this name."""

    def setProperty(name: str, value: Any, source: str, runtime: bool = False) -> None:
        """Set a property."""

    def getProperties() -> Any:
        """All properties."""

    def render(value: Any) -> Any:
        """A Deferred with ``value``, the renderables in it replaced."""


class IConfigured(Interface):
    """An object with a description for pages, a dictionary."""

    def getConfigDict() -> dict[str, Any]:
        """Its configuration."""


class IBuildStep(Interface):
    """A step of a build; see `buildbot.process.step.BuildStep`."""


#: what most values are, for each of which a protocol would be looked for in vain, attribute by attribute
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


def is_plain(value: object) -> bool:
    """Whether ``value`` is what most values are: None, a boolean, a number, a text or bytes."""
    return type(value) in _PLAIN


def is_renderable(value: object) -> TypeGuard[RenderableLike]:
    """Whether ``value`` is a renderable itself; a list that holds one is not, nor is a class of renderables."""
    if type(value) in _PLAIN:
        return False
    return hasattr(value, "getRenderingFor") and not isinstance(value, type)


def holds_renderable(value: object) -> bool:
    """Whether ``value`` is a renderable, or a list, tuple or dictionary with one somewhere in it."""
    if isinstance(value, (list, tuple)):
        return any(map(holds_renderable, value))
    if isinstance(value, dict):
        return any(holds_renderable(key) or holds_renderable(item) for key, item in value.items())
    return is_renderable(value)


@runtime_checkable
class WorkerLike(Protocol):
    """A worker as a configuration names it (``worker.Worker("name", "password")``)."""

    name: str
    password: str | None


class ConfiguredWorker(WorkerLike, Protocol):
    """A configured worker with all that the engine reads of it; see `buildbot.worker.base.AbstractWorker`."""

    max_builds: int | None
    properties: Mapping[str, Any]
    defaultProperties: Mapping[str, Any]
    keepalive_interval: float | None
    missing_timeout: float
    notify_on_missing: Sequence[str]
    locks: Sequence[Any]
    machine_name: str | None

    def taken_into_service(self, managed: Any) -> None:
        """The running master has this worker now, as ``managed``."""


@dataclass(frozen=True)
class AgentHost:
    """Where a master runs agents of its own.

    Attributes:
        reactor: spawns processes.
        basedir: the master's directory, absolute.
        port: of this machine's loopback, where they connect over PB.
    """

    reactor: Any
    basedir: Path
    port: int


@runtime_checkable
class HostedWorker(Protocol):
    """A worker whose agent the master itself runs; it needs no port in ``c['protocols']``."""

    async def start_agent(self, host: AgentHost) -> None:
        """Run the agent, unless it runs already."""

    async def stop_agent(self) -> None:
        """End the agent; returns when it is gone."""

    def take_over(self, older: object) -> bool:
        """Go on with the agent of the worker of this name in an earlier configuration; False: that one has to end."""


class LatentWorkerFailedToSubstantiate(Exception):
    """The instance of a worker on demand could not be started; the text says why. The build is tried again."""


class LatentWorkerCannotSubstantiate(Exception):
    """A worker on demand cannot run this build, now or later; the text says why. The build is not tried again."""


class LatentWorkerSubstantiatiationCancelled(Exception):
    """The start of an instance was cancelled."""


@runtime_checkable
class LatentWorker(Protocol):
    """A worker whose instance is started when a build needs it; see `buildbot.worker.latent.AbstractLatentWorker`."""

    name: str
    build_wait_timeout: float
    check_instance_interval: float
    missing_timeout: float

    def start_instance(self, build: Any) -> object:
        """Start the instance; a Deferred, coroutine or value: False if it could not be started."""

    def stop_instance(self, fast: bool = False) -> object:
        """Stop the instance, also one whose start failed."""

    def check_instance(self) -> object:
        """While its agent is awaited: whether the instance is well, and what is wrong if not."""

    def find_instance(self) -> object:
        """Whether an instance that an earlier master started is there still, which `stop_instance` can stop."""

    def isCompatibleWithBuild(self, build_props: Any) -> object:
        """Whether a build can use the instance that runs."""


class ConfiguredLatentWorker(LatentWorker, ConfiguredWorker, Protocol):
    """A configured worker on demand with all that the engine reads of it."""


def is_on_demand(worker: ConfiguredWorker) -> TypeGuard[ConfiguredLatentWorker]:
    """Whether a configured worker is one on demand."""
    return isinstance(worker, LatentWorker)


class IMachineAction(Interface):
    """An action that starts or stops a machine; see `buildbot.machine.generic.GenericLatentMachine`."""

    def perform(manager: Any) -> Any:
        """Do it for the machine ``manager``; True, or False if it failed, or a Deferred or coroutine of that."""


@runtime_checkable
class MachineLike(Protocol):
    """A machine as a configuration names it; see `buildbot.machine.base.Machine`."""

    name: str

    def canReconfigWithSibling(self, sibling: Any) -> bool:
        """Whether it can go on with the arguments of another one."""


@runtime_checkable
class LatentMachine(MachineLike, Protocol):
    """A machine that is started when a worker on it is needed; see `buildbot.machine.latent.AbstractLatentMachine`."""

    build_wait_timeout: float
    missing_timeout: float

    def start_machine(self) -> object:
        """Start it; a Deferred, coroutine or value: False if it could not be started."""

    def stop_machine(self) -> object:
        """Stop it, also after a failed start; False if it may still run."""


@runtime_checkable
class SchedulerLike(Protocol):
    """A scheduler as a configuration names it; ``builderNames`` is a list of names, or holds renderables."""

    name: str
    builderNames: Any


@runtime_checkable
class Forcible(Protocol):
    """A scheduler that builds what a form says; see `buildbot.schedulers.forcesched.ForceScheduler`."""

    name: str

    async def force(self, args: Mapping[str, Any], validation: Mapping[str, Any] | None = None) -> list[Any]:
        """Build what was submitted; returns ``[bsid, {builderid as text: buildrequestid}]``."""


@runtime_checkable
class TriggerableLike(Protocol):
    """A scheduler that builds may trigger; see `buildbot.schedulers.triggerable.Triggerable`."""

    name: str

    def trigger(
        self,
        waited_for: bool,
        sourcestamps: Sequence[Mapping[str, Any]] | None = None,
        set_props: Any = None,
        parent_buildid: int | None = None,
        parent_relationship: str | None = None,
    ) -> tuple[Any, Any]:
        """Make a buildset; Deferreds with its and its requests' ids, and with its results."""


@runtime_checkable
class ChangeSourceLike(Protocol):
    """A change source as a configuration names it."""

    name: str


@runtime_checkable
class TakesClients(Protocol):
    """A part to which programs log in over PB."""

    def client_port(self) -> int | str | None:
        """The port: a number or an endpoint description; None: the workers' port for PB."""


@runtime_checkable
class AuthLike(Protocol):
    """A way to log in, as a configuration names it (``util.UserPasswordAuth({…})``)."""

    def getConfigDict(self) -> dict[str, Any]:
        """Its description for pages."""


@runtime_checkable
class AuthzLike(Protocol):
    """Rules of who may do what, as a configuration names them (``util.Authz(…)``)."""

    allowRules: Sequence[Any]
    roleMatchers: Sequence[Any]


@runtime_checkable
class AvatarLike(Protocol):
    """A source of pictures of people, as a configuration names it (``util.AvatarGitHub()``)."""

    def getConfigDict(self) -> dict[str, Any]:
        """Its description for pages."""

    def getUserAvatar(self, email: bytes, username: bytes | None, size: int, defaultAvatarUrl: str) -> Any:
        """The picture of a user."""


@runtime_checkable
class ServiceLike(Protocol):
    """A service as a configuration names it; see `buildbot.util.service.BuildbotService`."""

    name: str

    def checkConfig(self, *args: Any, **kwargs: Any) -> Any:
        """Report what is wrong with the arguments."""

    def reconfigService(self, *args: Any, **kwargs: Any) -> Any:
        """Take the arguments."""

    def canReconfigWithSibling(self, sibling: Any) -> bool:
        """Whether it can go on with the arguments of another one."""


@runtime_checkable
class SecretProviderLike(ServiceLike, Protocol):
    """A provider of secrets as a configuration names it; see `buildbot.secrets.providers.base`."""

    def get(self, entry: str) -> Any:
        """The value of a secret, or None."""


class WorkerSetupError(Exception):
    """A worker cannot do what a step needs of it."""


class IReportGenerator(Interface):
    """What makes reports of events; plugins declare that their generators do. See `buildbot.reporters.generators`."""

    wanted_event_keys = Attribute("patterns of routing keys: tuples of text and None")

    def generate(master: Any, reporter: Any, key: tuple[str, ...], message: dict[str, Any]) -> Any:
        """The report of an event, or None; may be a Deferred."""
