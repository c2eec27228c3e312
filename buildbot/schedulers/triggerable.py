"""Triggerable: builds when the step ``Trigger`` of a build says so.

Any master that has the scheduler in its configuration can trigger it, whichever runs it: what is triggered is one
transaction (``data.update.triggerBuildset``), which holds the claim of the triggering build. So a master that was taken
for dead triggers nothing, and a build that is built again finds what it had triggered before.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred, ensureDeferred

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.process.properties import Properties
from buildbot.process.triggering import end_of_buildset
from buildbot.schedulers.scheduler import REASON, Scheduler
from buildbot.util.deferreds import resolved
from buildbot.util.results import EXCEPTION, SUCCESS

#: the id of a buildset, None if none was made; its requests by the builders' ids
Ids = tuple[int | None, dict[int, int]]
Results = tuple[int, dict[int, int]]


class SwitchedOffError(Exception):
    """The scheduler is switched off, so that it triggers nothing."""


@dataclass(frozen=True)
class TriggeredBuildset:
    """A buildset that a step has triggered; `Triggered.trigger` explains the attributes.

    Attributes:
        properties: ``{name: (value, source)}``.
    """

    waited_for: bool
    sourcestamps: Sequence[Mapping[str, Any]]
    properties: Mapping[str, tuple[Any, str]]
    parent_buildid: int | None
    parent_relationship: str | None


class Triggered(Scheduler):
    """A scheduler that steps trigger; subclasses implement `make_buildset`."""

    def trigger(
        self,
        waited_for: bool,
        sourcestamps: Sequence[Mapping[str, Any]] | None = None,
        set_props: Properties | None = None,
        parent_buildid: int | None = None,
        parent_relationship: str | None = None,
    ) -> tuple[Deferred[Ids], Deferred[Results]]:
        """Make a buildset for a build.

        Args:
            waited_for: whether the build waits for it.
            sourcestamps: what to build; the scheduler's ``codebases`` fill in what is left out.
            set_props: properties of the buildset; the scheduler's own win over them.
            parent_buildid: the build.
            parent_relationship: how the buildset belongs to it.

        Returns:
            Deferreds with ``(bsid, {builderid: brid})`` once it is made, and with ``(results, {builderid: brid})`` at
            its end. Cancelling the second ends the wait only. If it cannot be made, the first fails, with
            `SwitchedOffError` if the scheduler is switched off, and the second gives EXCEPTION.
        """
        ids: Deferred[Ids] = Deferred()
        properties = {} if set_props is None else set_props.asDict()
        wanted = TriggeredBuildset(waited_for, sourcestamps or (), properties, parent_buildid, parent_relationship)
        return ids, ensureDeferred(self.__follow(ids, self.make_buildset(wanted)))

    async def __follow(self, ids: Deferred[Ids], made: Coroutine[Deferred[Any], Any, Ids]) -> Results:
        try:
            bsid, brids = await made
        except Exception as problem:
            ids.errback(problem)
            return EXCEPTION, {}
        ids.callback((bsid, dict(brids)))
        return (SUCCESS if bsid is None else await end_of_buildset(self.master, bsid)), brids

    @abstractmethod
    async def make_buildset(self, wanted: TriggeredBuildset) -> Ids:
        """Make the buildset now, or remember it; its ids, or None and no requests."""

    async def check_switched_on(self) -> None:
        """Raise `SwitchedOffError` if the scheduler is switched off, whichever master runs it."""
        schedulerid = await self.master.data.update.findSchedulerId(self.name)
        row = await self.master.data.get({}, ("schedulers", schedulerid))
        if not row["enabled"]:
            raise SwitchedOffError(f"the scheduler {self.name!r} is switched off")

    def without_own(self, properties: Mapping[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
        """Those of the properties that the scheduler does not set itself."""
        return {name: pair for name, pair in properties.items() if name not in self.properties}


class Triggerable(Triggered):
    """Builds when a ``Trigger`` step says so. Without a priority its requests have that of the triggering build's."""

    reason: Any = argument(
        None,
        checks.optional(checks.text),
        doc="of the buildset; `%(name)s` and `%(classname)s` are filled in. None: says which scheduler was triggered",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reason = self.fill_in(self.reason or REASON)

    async def make_buildset(self, wanted: TriggeredBuildset) -> Ids:
        """Make the buildset at once."""
        await self.check_switched_on()
        made: Ids = await resolved(
            self.addBuildsetForSourceStampsWithDefaults(
                reason=self.reason,
                sourcestamps=wanted.sourcestamps,
                properties=self.without_own(wanted.properties),
                waited_for=wanted.waited_for,
                parent_buildid=wanted.parent_buildid,
                parent_relationship=wanted.parent_relationship,
            )
        )
        return made

    async def store_buildset(
        self, buildset: dict[str, Any], alongside: Callable[[Connection], None] | None
    ) -> tuple[int, dict[str, int]]:
        """As ``Scheduler.store_buildset``; one that a build triggers is made once."""
        if buildset.get("parent_buildid") is None:
            return await super().store_buildset(buildset, alongside)
        if self.priority is None:
            buildset["priority"] = None
        made: tuple[int, dict[str, int]] = await self.master.data.update.triggerBuildset(**buildset)
        return made
