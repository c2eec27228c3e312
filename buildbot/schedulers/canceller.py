"""Services that cancel what nobody needs any more: builds of code that a newer change has replaced, and what else is
asked for together with a build that has failed.

Each master that has such a service follows the events of all; cancelling something twice does nothing.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from buildbot.changes.ssfilter import SourceStampFilter
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.mq.log import Event
from buildbot.mq.match import Pattern
from buildbot.process.service import DeclaredService
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred
from buildbot.util.results import EXCEPTION, FAILURE

_log = Logger()

OBSOLETE = "Build request has been obsoleted by a newer commit"
TOGETHER = "Build has been cancelled because another build in the same buildset failed"

#: a change of Gerrit's, without its last part, the number of the patch set
_GERRIT = re.compile(r"(refs/changes/\d+/\d+)/\d+\Z")
#: the key of a line of development
_Line = tuple[str, str, str, str]


def _names(value: Any) -> frozenset[str]:
    return frozenset([value] if isinstance(value, str) else checks.list_of(checks.text)(value))


def _stamp_filter(value: Any) -> SourceStampFilter:
    if not isinstance(value, SourceStampFilter):
        raise ValueError(f"must have a util.SourceStampFilter at its end, not {checks.kind(value)}")
    return value


def _of_builders(value: Any) -> tuple[frozenset[str], SourceStampFilter]:
    parts = checks.sequence(value)
    if len(parts) != 2:
        raise ValueError(f"must be a pair (names of builders, SourceStampFilter), not {checks.kind(value)}")
    return _names(parts[0]), _stamp_filter(parts[1])


def _of_watched(value: Any) -> tuple[frozenset[str], frozenset[str] | None, SourceStampFilter]:
    parts = checks.sequence(value)
    if len(parts) != 3:
        raise ValueError(
            f"must be (builders to watch, builders to cancel or None, SourceStampFilter), not {checks.kind(value)}"
        )
    return _names(parts[0]), None if parts[1] is None else _names(parts[1]), _stamp_filter(parts[2])


def default_branch_key(ss: Mapping[str, Any]) -> str:
    """The branch; of a change on Gerrit without the number of its patch set."""
    branch = ss["branch"] or ""
    found = _GERRIT.match(branch)
    return found[1] if found else branch


class _Canceller(DeclaredService):
    """Takes events one after the other, in their order."""

    def __init__(self, name: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, name=name, **kwargs)
        self.__subscription: Any = None
        self.__arrived: deque[tuple[tuple[str, ...], Mapping[str, Any]]] = deque()
        self.__draining: Deferred[Any] | None = None
        self.__builders: dict[int, str] = {}

    @abstractmethod
    def patterns(self) -> Sequence[Pattern]:
        """The events that it wants."""

    @abstractmethod
    async def take(self, key: tuple[str, ...], message: Mapping[str, Any]) -> None:
        """Act on an event."""

    async def begin(self) -> None:
        """Look at the present requests; events wait until this is done."""

    @deferred
    async def startService(self) -> None:
        """Begin to follow the events."""
        await super().startService()
        self.__subscription = await self.master.data.subscribe(self.patterns(), self.__arrive, None)
        self.__drain_soon(self.begin())

    @deferred
    async def stopService(self) -> None:
        """Stop; returns when the event under way has been dealt with."""
        subscription, self.__subscription = self.__subscription, None
        if subscription is not None:
            await maybeDeferred(subscription.stopConsuming)
        self.__arrived.clear()
        if self.__draining is not None:
            await self.__draining
        await super().stopService()

    def __arrive(self, event: Event, routing_key: tuple[str, ...]) -> None:
        self.__arrived.append((routing_key, event.message))
        if self.__draining is None:
            self.__drain_soon(None)

    def __drain_soon(self, first: Any) -> None:
        self.__draining = in_background(self.__drain(first), f"{self!r}")
        self.__draining.addBoth(self.__drained)

    def __drained(self, _: Any) -> None:
        self.__draining = None
        if self.__arrived:  # something failed
            self.__drain_soon(None)

    async def __drain(self, first: Any) -> None:
        if first is not None:
            await first
        while self.__arrived:
            await self.take(*self.__arrived.popleft())

    async def builder_name(self, builderid: int) -> str:
        """The name of a builder."""
        if builderid not in self.__builders:
            known = await self.master.data.get({}, ("builders",))
            self.__builders = {each["builderid"]: each["name"] for each in known}
        return self.__builders.get(builderid, "")

    async def cancel(self, brid: int, reason: str) -> None:
        """Cancel a request, or stop its build; nothing happens to one that is complete."""
        await self.master.data.control("cancel", {"reason": reason}, ("buildrequests", brid))


class OldBuildCanceller(_Canceller):
    """Cancels requests and builds of code that a newer change of the same branch has replaced."""

    positional: ClassVar[tuple[str, ...]] = ("filters", "branch_key")
    filters = argument(
        REQUIRED,
        checks.list_of(_of_builders),
        doc="a list of pairs: names of builders, and the `SourceStampFilter` of their builds that are cancelled",
    )
    branch_key = argument(
        None,
        checks.optional(checks.function),
        doc="""f(source stamp): what is equal is the same branch. None: the branch; of a change on Gerrit without the
        number of its patch set""",
    )

    def __init__(self, name: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(name, *args, **kwargs)
        #: the requests that are not complete, by line of development; and the lines of each
        self.__requests: dict[_Line, set[int]] = {}
        self.__lines: dict[int, set[_Line]] = {}

    def patterns(self) -> Sequence[Pattern]:
        """Changes, and the beginnings and ends of requests."""
        return [("changes", None, "new"), ("buildrequests", None, "new"), ("buildrequests", None, "complete")]

    async def begin(self) -> None:
        """Know the requests that are open."""
        query = {"filters": {"complete": False}, "order": ["buildrequestid"]}
        for request in await self.master.data.get(query, ("buildrequests",)):
            await self.__track(request)

    async def take(self, key: tuple[str, ...], message: Mapping[str, Any]) -> None:
        """Track a request, forget one, or cancel the builds that a change has replaced."""
        if key[0] == "changes":
            line = self.__line(message)
            for brid in sorted(self.__requests.get(line, ()) if line is not None else ()):
                self.__forget(brid)
                await self.cancel(brid, OBSOLETE)
        elif key[-1] == "new":
            await self.__track(message)
        else:
            self.__forget(message["buildrequestid"])

    async def __track(self, request: Mapping[str, Any]) -> None:
        name = await self.builder_name(request["builderid"])
        filters = [each for builders, each in self.filters if name in builders]
        if not filters or request["buildrequestid"] in self.__lines:
            return
        buildset = await self.master.data.get({}, ("buildsets", request["buildsetid"]))
        found = [self.__line(ss) for ss in buildset["sourcestamps"] if any(_matches(each, ss) for each in filters)]
        lines = {line for line in found if line is not None}
        if lines:
            self.__lines[request["buildrequestid"]] = lines
            for line in lines:
                self.__requests.setdefault(line, set()).add(request["buildrequestid"])

    def __forget(self, brid: int) -> None:
        for line in self.__lines.pop(brid, ()):
            self.__requests[line].discard(brid)
            if not self.__requests[line]:
                del self.__requests[line]

    def __line(self, ss: Mapping[str, Any]) -> _Line | None:
        key: Callable[[Mapping[str, Any]], Any] = self.branch_key or default_branch_key
        about = {name: ss[name] for name in ("project", "codebase", "repository", "branch")}
        try:
            return ss["project"], ss["codebase"], ss["repository"], str(key(about))
        except Exception:
            _log.failure("{service!r}: branch_key failed for {about}; it cancels nothing", service=self, about=about)
            return None


class FailingBuildsetCanceller(_Canceller):
    """Cancels the other builds of a buildset when a build of it has failed."""

    positional: ClassVar[tuple[str, ...]] = ("filters",)
    filters = argument(
        REQUIRED,
        checks.list_of(_of_watched),
        doc="""a list of triples: names of builders whose failures count; names of builders that are cancelled then,
        None for all; and the `SourceStampFilter` of the buildsets that it is about""",
    )

    def patterns(self) -> Sequence[Pattern]:
        """The ends of builds."""
        return [("builds", None, "finished")]

    async def take(self, key: tuple[str, ...], message: Mapping[str, Any]) -> None:
        """Cancel the others of a build that has failed."""
        if message["results"] not in (FAILURE, EXCEPTION):
            return
        get = self.master.data.get
        request = await get({}, ("buildrequests", message["buildrequestid"]))
        name = await self.builder_name(request["builderid"])  # the build may be shown under a virtual builder
        filters = [(others, each) for watched, others, each in self.filters if name in watched]
        if not filters:
            return
        buildset = await get({}, ("buildsets", request["buildsetid"]))
        wanted = [others for others, each in filters if any(_matches(each, ss) for ss in buildset["sourcestamps"])]
        query = {"filters": {"complete": False}, "order": ["buildrequestid"]}
        for other in await get(query, ("buildsets", buildset["bsid"], "buildrequests")) if wanted else ():
            its = await self.builder_name(other["builderid"])
            if other["buildrequestid"] != request["buildrequestid"] and any(
                names is None or its in names for names in wanted
            ):
                await self.cancel(other["buildrequestid"], TOGETHER)


def _matches(stamp_filter: SourceStampFilter, ss: Mapping[str, Any]) -> bool:
    try:
        return bool(stamp_filter.is_matched(ss))
    except Exception:
        _log.failure("{filter!r} failed; it lets the source stamp pass nowhere", filter=stamp_filter)
        return False
