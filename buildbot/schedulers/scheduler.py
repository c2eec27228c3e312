"""What all schedulers share: being claimed and switched on, and making buildsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from sqlalchemy.engine import Connection
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from buildbot.changes.changes import Change
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.data.base import Events
from buildbot.db.buildsets import Requests
from buildbot.interfaces import holds_renderable
from buildbot.process.claimed import ClaimedPart
from buildbot.process.properties import Properties
from buildbot.util import checks as limits
from buildbot.util.deferreds import deferred, resolved

REASON = "The %(classname)s scheduler named %(name)r triggered this build"
_log = Logger()
#: attributes of a source stamp that are not given
_STAMP: Mapping[str, Any] = MappingProxyType({"repository": "", "branch": None, "revision": None, "project": ""})
#: how many changes are read at a time
PAGE = 500

#: a buildset's id, and the ids of its requests by those of the builders
MadeBuildset = tuple[int, dict[int, int]]
Priority = int | Callable[[list[str], dict[str, list[Change]]], int] | None


def reason_argument() -> Any:
    """Declare the argument ``reason``, the reason of buildsets; ``__init__`` completes it by `Scheduler.fill_in`."""
    return argument(
        REASON,
        checks.optional(checks.text),
        doc="of the buildset; `%(name)s` and `%(classname)s` are filled in. None: says which scheduler made it",
    )


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError("must be a number")
    return value


def _codebases(value: Any) -> dict[str, Mapping[str, Any]] | None:
    """The settings of each codebase by its name."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        settings = dict(value)
    elif isinstance(value, list | tuple):
        settings = {each: {} for each in value if isinstance(each, str)}
    else:
        settings = {}
    if not settings:
        raise ValueError(f"must be a list of names or a dictionary, and not empty, not {checks.kind(value)}")
    for name, setting in settings.items():
        unknown = set(checks.mapping(setting)) - {"repository", "branch", "revision", "project"}
        if unknown:
            raise ValueError(f"codebase {name!r} has unknown settings {sorted(unknown)}")
    return settings


class Scheduler(ClaimedPart):
    """Decides what is built; one master of the installation runs it.

    Attributes:
        schedulerid: id in the schedulers table, once activated.
        objectid: id of its state in ``master.db.state``, once activated.
        enabled: whether it is switched on (``schedulers/N``, action ``enable``).
    """

    #: seconds to wait after an error before the same work is tried again
    retry_step_s = 10.0
    #: whether an error of the configuration's functions and renderables is only logged, and nothing is built: tried
    #: again it would come again, and hold up everything that is built later. False: who asked for the buildset gets it.
    never_raises: ClassVar[bool] = False

    positional: ClassVar[tuple[str, ...]] = ("name", "builderNames", "properties", "codebases", "priority")
    builderNames: Any = argument(
        REQUIRED,
        checks.list_of(checks.text),
        renderable=True,
        doc="""names of the builders that it triggers. A renderable that gives a list of names, or a list that holds
        renderables, is rendered for each buildset: it is given the buildset's properties and those of its changes, with
        `master`, `sourcestamps`, `changes` and `files`""",
    )
    properties: Any = argument(
        None,
        checks.optional(checks.mapping),
        renderable=True,
        doc="properties of every buildset, by name; renderables are rendered when it is made",
    )
    codebases: Any = argument(
        None,
        _codebases,
        doc="""which codebases its builds are made from: a list of names, or `{name: {repository, branch, revision,
        project}}` with what to build of a codebase that has no change. None: the one without a name""",
    )
    priority = argument(
        None,
        checks.optional(checks.either(_number, checks.function, otherwise="a number or a function")),
        doc="of its build requests, a number or a function of the builders' names and `{codebase: changes}`",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.builderNames, tuple):
            self.builderNames = list(self.builderNames)
        elif self.builderNames is None:
            self.builderNames = []
        self.properties = self.stated_properties()
        for key, value in self.properties.items():
            if not holds_renderable(value):
                try:
                    Properties().setProperty(key, value, "Scheduler")
                except TypeError as problem:
                    error(f"{type(self).__name__} {self.name!r}: {problem}")
        self.codebases = self.stated_codebases()
        self.schedulerid = 0
        self.objectid = 0
        self.enabled = True
        self.__switches: Any = None

    def stated_properties(self) -> dict[str, Any]:
        """The properties of every buildset, from the arguments."""
        return dict(self.properties or {})

    def stated_codebases(self) -> dict[str, Mapping[str, Any]]:
        """The settings of each codebase, from the arguments."""
        return {"": {}} if self.codebases is None else self.codebases

    def fill_in(self, reason: str) -> str:
        """A configured reason with ``%(name)s`` and ``%(classname)s`` filled in."""
        try:
            return reason % {"name": self.name, "classname": type(self).__name__}
        except (KeyError, TypeError, ValueError) as problem:
            error(f"scheduler {self.name!r}: reason may hold %(name)s and %(classname)s and is a string ({problem!r})")
            return ""

    # running

    async def claim(self, masterid: int | None) -> bool:
        """Claim it for a master, or give it up with None."""
        update = self.master.data.update
        self.schedulerid = await update.findSchedulerId(self.name)
        return bool(await update.setSchedulerMaster(self.schedulerid, masterid))

    def thd_hold(self, conn: Connection) -> None:
        """Make sure that this master runs the scheduler until the transaction ends; NotClaimedError if not."""
        self.master.db.schedulers.thdHold(conn, self.schedulerid)

    async def start_work(self) -> None:
        """Begin to schedule, in the state that it was left in."""
        self.objectid = await self.master.db.state.getObjectId(self.name, type(self).__name__)
        key = ("schedulers", str(self.schedulerid), "updated")
        self.__switches = await self.master.mq.startConsuming(self.__switched, key)
        row = await self.master.data.get({}, ("schedulers", self.schedulerid))
        self.enabled = row["enabled"]
        await self.start_scheduling()

    async def stop_work(self) -> None:
        """Stop scheduling; returns when nothing is under way."""
        if self.__switches is not None:
            await maybeDeferred(self.__switches.stopConsuming)
            self.__switches = None
        await self.stop_scheduling()

    async def start_scheduling(self) -> None:
        """Begin to schedule, for subclasses. A scheduler that is switched off runs too: it lets everything pass."""

    async def stop_scheduling(self) -> None:
        """End what `start_scheduling` began."""

    def switched_on(self) -> None:
        """Called when the scheduler is switched on while it runs."""

    def __switched(self, routing_key: tuple[str, ...], message: dict[str, Any]) -> None:
        before, self.enabled = self.enabled, bool(message["enabled"])
        if self.enabled and not before:
            self.switched_on()

    # what people's own schedulers call

    @property
    def active(self) -> bool:
        """Whether this master runs it now."""
        return self.working

    @deferred
    async def getState(self, name: str, default: Any = REQUIRED) -> Any:
        """A value that `setState` has kept, over restarts and on every master; Deferred.

        Raises:
            KeyError: there is none, and no default is given.
        """
        known = await self.master.db.state.getState(self.objectid, f"own {name}", [])
        if known:
            return known[0]
        if default is REQUIRED:
            raise KeyError(name)
        return default

    @deferred
    async def setState(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name; Deferred.

        Raises:
            NotClaimedError: another master runs the scheduler by now.
        """
        await self.master.db.pool.do(self.__thd_set_state, f"own {name}", [value])

    def __thd_set_state(self, conn: Connection, name: str, value: Any) -> None:
        self.thd_hold(conn)
        self.master.db.state.thdSetState(conn, self.objectid, name, value)

    # buildsets

    @deferred
    async def addBuildsetForSourceStamps(
        self,
        waited_for: bool = False,
        sourcestamps: Sequence[Mapping[str, Any]] | None = None,
        reason: str = "",
        external_idstring: str | None = None,
        properties: Properties | Mapping[str, tuple[Any, str]] | None = None,
        builderNames: Sequence[str] | None = None,
        priority: int | Callable[[list[str]], int] | None = None,
        alongside: Callable[[Connection], None] | None = None,
        **further: Any,
    ) -> MadeBuildset:
        """Make a buildset with a build request per builder.

        Args:
            waited_for: whether a build waits for it.
            sourcestamps: one per codebase: codebase, repository, branch, revision, project, changeids.
            reason: why.
            external_idstring: what others call it.
            properties: `Properties`, or ``{name: (value, source)}``, over those of the scheduler.
            builderNames: of the builders, default: the scheduler's.
            priority: of the requests, a number or a function of the builders' names; default: the scheduler's.
            alongside: called with the connection, to write more in the same transaction.
            **further: what ``addBuildset`` takes besides (``parent_buildid``…).

        Returns:
            Deferred with the buildset's id, and the requests' ids by the builders' ids.
        """
        failed = False
        try:
            rendered = await Properties().render(self.properties)
        except Exception:
            rendered, failed = {}, self.__passed_over("its properties cannot be rendered; nothing is built")
        every = {name: (value, "Scheduler") for name, value in rendered.items()}
        every |= properties.asDict() if isinstance(properties, Properties) else properties or {}
        every["scheduler"] = (self.name, "Scheduler")
        stamps = list(sourcestamps or ())
        if builderNames is None:
            builderNames = [] if failed else await self.names_for(stamps, every)
        try:
            if priority is None:
                own = self.priority
                # a function is given the changes; here there are none
                priority = own(list(builderNames), {}) if callable(own) else own or 0
            elif callable(priority):
                priority = priority(list(builderNames))
            limits.integer(priority, "priority", -limits.MAX_SMALL)
        except Exception:
            self.__passed_over("its priority cannot be told; 0 counts")
            priority = 0
        buildset = {
            "sourcestamps": [dict(each) for each in stamps],
            "reason": reason,
            "waited_for": waited_for,
            "external_idstring": external_idstring,
            "properties": every,
            "builderNames": list(builderNames),
            "scheduler": self.name,
            "priority": priority,
            **further,
        }
        bsid, brids = await self.store_buildset(buildset, alongside)
        if isinstance(brids, Requests):
            return bsid, brids.by_builderid
        requests = await self.master.data.get({"filters": {"buildsetid": bsid}}, ("buildrequests",))
        return bsid, {each["builderid"]: each["buildrequestid"] for each in requests}

    async def store_buildset(
        self, buildset: dict[str, Any], alongside: Callable[[Connection], None] | None
    ) -> tuple[int, dict[str, int]]:
        """Write a buildset that is all worked out, and what is to be written in the same transaction.

        Args:
            buildset: what ``addBuildset`` takes.
            alongside: see `addBuildsetForSourceStamps`.
        """
        update = self.master.data.update
        made: tuple[int, dict[str, int]]
        if alongside is None:
            made = await update.addBuildset(**buildset)
        else:
            made = await update.transact(self.__thd_add_buildset, buildset, alongside)
        return made

    async def names_for(
        self, sourcestamps: Sequence[Mapping[str, Any]], properties: Mapping[str, tuple[Any, str]]
    ) -> list[str]:
        """The names of the builders for a buildset. If they cannot be rendered: as `never_raises` says.

        Args:
            sourcestamps: of the buildset.
            properties: of the buildset, ``{name: (value, source)}``.
        """
        if isinstance(self.builderNames, list) and all(isinstance(each, str) for each in self.builderNames):
            return list(self.builderNames)
        changeids = [changeid for stamp in sourcestamps for changeid in stamp.get("changeids", ())]
        props = BuildsetProperties(self.master, sourcestamps, await self.__change_dicts(changeids), properties)
        try:
            names: list[str] = checks.list_of(checks.text)(await props.render(self.builderNames))
        except Exception:
            self.__passed_over("its builderNames cannot be rendered; nothing is built")
            return []
        return names

    def __passed_over(self, problem: str) -> bool:
        """Log the exception that is being handled, and go on; raise it if a caller waits for the buildset."""
        if not self.never_raises:
            raise  # noqa: PLE0704  the caller handles an exception
        _log.failure("{part!r}: {problem}", part=self, problem=problem)
        return True

    def __thd_add_buildset(
        self, conn: Connection, events: Events, buildset: dict[str, Any], alongside: Callable[[Connection], None]
    ) -> tuple[int, dict[str, int]]:
        made: tuple[int, dict[str, int]] = self.master.data.update.thdAddBuildset(conn, events, **buildset)
        alongside(conn)
        return made

    @deferred
    async def addBuildsetForSourceStampsWithDefaults(
        self,
        reason: str = "",
        sourcestamps: Sequence[Mapping[str, Any]] | None = None,
        waited_for: bool = False,
        properties: Properties | Mapping[str, tuple[Any, str]] | None = None,
        builderNames: Sequence[str] | None = None,
        priority: int | Callable[[list[str]], int] | None = None,
        **further: Any,
    ) -> MadeBuildset:
        """Make a buildset with a source stamp for each of the scheduler's codebases.

        Args:
            reason: why.
            sourcestamps: what is known of some codebases; the scheduler's settings fill in what is left out.
            waited_for, properties, builderNames, priority, **further: see `addBuildsetForSourceStamps`.

        Returns:
            Deferred as that.
        """
        given = {each.get("codebase", ""): each for each in sourcestamps or ()}
        names = [*self.codebases, *(name for name in given if name not in self.codebases)]
        stamps = [
            dict(_STAMP) | dict(self.getCodebaseDict(name)) | dict(given.get(name, {})) | {"codebase": name}
            for name in names
        ]
        made: MadeBuildset = await resolved(
            self.addBuildsetForSourceStamps(
                waited_for=waited_for,
                sourcestamps=stamps,
                reason=reason,
                properties=properties,
                builderNames=builderNames,
                priority=priority,
                **further,
            )
        )
        return made

    def getCodebaseDict(self, codebase: str) -> Mapping[str, Any]:
        """The default source of a codebase: some of branch, revision, repository, project."""
        settings: Mapping[str, Any] = self.codebases.get(codebase, {})
        return settings

    def listBuilderNames(self) -> Any:
        """The names of its builders, or a renderable that gives them."""
        return self.builderNames

    @deferred
    async def addBuildsetForChanges(
        self,
        waited_for: bool = False,
        reason: str = "",
        external_idstring: str | None = None,
        changeids: Sequence[int] | None = None,
        builderNames: Sequence[str] | None = None,
        properties: Properties | Mapping[str, tuple[Any, str]] | None = None,
        priority: int | Callable[[list[str]], int] | None = None,
        **further: Any,
    ) -> MadeBuildset:
        """Make a buildset for changes: per codebase the code of its last change, and all its changes with it.

        Args:
            reason: why.
            changeids: ids of the changes; ids of deleted changes are left out.
            waited_for, external_idstring, builderNames, properties, priority, **further: see
                `addBuildsetForSourceStamps`.

        Returns:
            Deferred as that.
        """
        by_codebase: dict[str, list[Change]] = {}
        for change in await self.read_changes(changeids or ()):
            by_codebase.setdefault(change.codebase, []).append(change)
        stamps = []
        for codebase, changes in by_codebase.items():
            last = changes[-1]
            stamps.append(
                {
                    "codebase": codebase,
                    "repository": last.repository,
                    "branch": last.branch,
                    "revision": last.revision,
                    "project": last.project,
                    "changeids": [change.number for change in changes],
                }
            )
        weigh = self.priority
        if callable(weigh) and priority is None:
            priority = lambda names: weigh(names, by_codebase)  # noqa: E731
        made: MadeBuildset = await resolved(
            self.addBuildsetForSourceStampsWithDefaults(
                reason=reason,
                sourcestamps=stamps,
                waited_for=waited_for,
                external_idstring=external_idstring,
                properties=properties,
                builderNames=builderNames,
                priority=priority,
                **further,
            )
        )
        return made

    async def read_changes(self, changeids: Sequence[int]) -> list[Change]:
        """The changes with these ids that still exist, ordered by id."""
        return [Change.from_data(each) for each in await self.__change_dicts(changeids)]

    async def __change_dicts(self, changeids: Sequence[int]) -> list[dict[str, Any]]:
        ids, found = sorted(changeids), []
        for start in range(0, len(ids), PAGE):
            filters = {"changeid__eq": ids[start : start + PAGE]}
            found += await self.master.data.get({"filters": filters, "order": ["changeid"]}, ("changes",))
        return found


class BuildsetProperties(Properties):
    """What a renderable in ``builderNames`` is given.

    Attributes:
        master: the master.
        sourcestamps: of the buildset that is about to be made, as dictionaries.
        changes: its changes, as the Data API gives them.
        files: the names of all files that these changed, each once.
    """

    def __init__(
        self,
        master: Any,
        sourcestamps: Sequence[Mapping[str, Any]],
        changes: Sequence[Mapping[str, Any]],
        properties: Mapping[str, tuple[Any, str]],
    ) -> None:
        super().__init__()
        self.master = master
        self.sourcestamps = [dict(_STAMP) | dict(each) for each in sourcestamps]
        self.changes = list(changes)
        self.files = list(dict.fromkeys(name for each in changes for name in each["files"]))
        for values in (properties, *(each["properties"] for each in changes)):
            for name, (value, source) in values.items():
                self.setProperty(name, value, source)
