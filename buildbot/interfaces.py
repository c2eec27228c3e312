"""What a part may ask of the things it is handed, as Protocols: recognised by shape, not by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


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
    keepalive_interval: float
    missing_timeout: float
    notify_on_missing: Sequence[str]


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
class ChangeSourceLike(Protocol):
    """A change source as a configuration names it."""

    name: str


@runtime_checkable
class AuthLike(Protocol):
    """A way to log in, as a configuration names it (``util.UserPasswordAuth({…})``)."""

    def getConfigDict(self) -> dict[str, Any]:
        """What pages are told of it."""


@runtime_checkable
class AuthzLike(Protocol):
    """Rules of who may do what, as a configuration names them (``util.Authz(…)``)."""

    rules: Sequence[Any]
    role_matchers: Sequence[Any]
