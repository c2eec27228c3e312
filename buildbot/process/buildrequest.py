"""Pending build requests for users' functions, and the collapsing of requests.

**Collapsing.** When a request is added, older waiting requests of its builder for the same code are completed as
SKIPPED; the newest stays, with the highest priority of them all. ``collapseRequests`` of the builder, or of the
installation,
is the rule: ``True`` is `BuildRequest.canBeCollapsed`, a function decides by itself. Every master with the builder
looks at a new request; the claim decides which master completes an older one, and a request that is claimed already is
built.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from twisted.logger import Logger

from buildbot.data.interfaces import Master
from buildbot.process.buildercontract import RunningBuilder
from buildbot.process.properties import Properties
from buildbot.process.sourcestamp import SourceStamp
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.resources.buildsets import BuildsetDict
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.results import SKIPPED

_log = Logger()

#: properties of a buildset about its owner and reason, not about the code
_ABOUT_PEOPLE = frozenset({"owner", "owners", "reason"})
#: the number of older requests that are looked at
_OLDER = 500


#: the options of a query for `BuildRequest.from_data`
WHOLE: Mapping[str, Any] = MappingProxyType({"expand": ["buildset"], "properties": ["*"]})


class BuildRequest:
    """A pending request for users' functions (``nextBuild``, ``nextWorker``, ``canStartBuild``).

    Attributes:
        id: the build request's id.
        bsid, buildsetid: of its buildset.
        builderid, buildername: of its builder.
        priority: higher goes first.
        submittedAt: Unix time in seconds.
        waitedFor: whether a build waits for it.
        reason: why it was made.
        properties: those of its buildset.
        sources: its source stamps by codebase; ``source`` is the first one.
    """

    def __init__(self, data: Mapping[str, Any], buildername: str = "") -> None:
        whole = data.get("buildset")  # otherwise a link
        buildset = whole if isinstance(whole, dict) else {}
        self.id: int = data["buildrequestid"]
        self.bsid: int = data["buildsetid"]
        self.buildsetid: int = data["buildsetid"]
        self.builderid: int = data["builderid"]
        self.buildername = buildername
        self.priority: int = data["priority"]
        self.submittedAt: int = data["submitted_at"]
        self.waitedFor: bool = data["waited_for"]
        self.reason: str = buildset.get("reason", "")
        self.properties = Properties.fromDict(data.get("properties") or {})
        self.sources = {stamp["codebase"]: SourceStamp(stamp) for stamp in buildset.get("sourcestamps", ())}
        self.source = next(iter(self.sources.values()), None)

    def __repr__(self) -> str:
        return f"<BuildRequest {self.id} of {self.buildername or self.builderid!r}>"

    @classmethod
    def from_data(cls, data: Mapping[str, Any], buildername: str = "") -> BuildRequest:
        """A request from ``data`` of the Data API, which was read with `WHOLE`."""
        return cls(data, buildername)

    def getSubmitTime(self) -> int:
        """When it was made, Unix time in seconds."""
        return self.submittedAt

    @staticmethod
    @deferred
    async def canBeCollapsed(master: Master, new: BuildRequestDict, old: BuildRequestDict) -> bool:
        """Whether one build serves both requests: the same code without a patch, the same properties.

        Args:
            master: the master.
            new, old: requests, as the Data API gives them. A request that a build waits for is built by itself.
        """
        if new["waited_for"] or old["waited_for"]:
            return False
        asked = [await _asked(master, each["buildsetid"]) for each in (new, old)]
        return asked[0] is not None and asked[0] == asked[1]


async def _asked(master: Master, bsid: int) -> tuple[list[list[str]], dict[str, object]] | None:
    """The code and the properties of a buildset, to be compared; None for one with a patch, which equals no other."""
    buildset: BuildsetDict = await master.data.get({}, ("buildsets", bsid))
    if any(stamp["patch"] is not None for stamp in buildset["sourcestamps"]):
        return None
    code = sorted(
        [stamp["codebase"], stamp["repository"], stamp["project"], stamp["branch"] or "", stamp["revision"] or ""]
        for stamp in buildset["sourcestamps"]
    )
    properties: Mapping[str, list[Any]] = await master.data.get({}, ("buildsets", bsid, "properties"))
    return code, {name: value for name, (value, _) in properties.items() if name not in _ABOUT_PEOPLE}


class BuilderView(dict[str, Any]):
    """A builder for a function of ``collapseRequests``: the Data API's dictionary, with ``name`` and ``config``.

    Args:
        builder: the running builder.
        row: the builder's dictionary of the Data API.
    """

    def __init__(self, builder: RunningBuilder, row: Mapping[str, Any]) -> None:
        super().__init__(row)
        self.name: str = builder.name
        self.builderid: int = builder.builderid
        self.config = builder.config


class Collapser:
    """Completes requests that a newer one replaces.

    Args:
        master: the master, for its ``data``.

    Attributes:
        default: ``c['collapseRequests']``, for builders without a rule.
    """

    def __init__(self, master: Master) -> None:
        self._master = master
        self.default: object = False

    def rule_of(self, builder: RunningBuilder) -> object:
        """The rule for a builder: True, a function, or False."""
        rule = builder.config.collapseRequests
        return (self.default if rule is None else rule) or False

    async def collapse(self, builder: RunningBuilder, brid: int) -> None:
        """Collapse the waiting requests of a builder into a new one. Errors are logged: then all requests are built."""
        rule = self.rule_of(builder)
        if rule is False:
            return
        try:
            await self._collapse(builder, brid, rule)
        except Exception:
            _log.failure("{builder!r}: requests cannot be collapsed; each is built", builder=builder)

    async def _collapse(self, builder: RunningBuilder, brid: int, rule: object) -> None:
        waiting = await self._waiting(builder.builderid, brid)
        new = next((each for each in waiting if each["buildrequestid"] == brid), None)
        if new is None:  # it is being built already
            return
        view = BuilderView(builder, await self._master.data.get({}, ("builders", builder.builderid)))
        for old in waiting:
            if old["buildrequestid"] < brid and await self._stands_for(rule, view, new, old):
                await self._skip(new, old)

    async def _stands_for(self, rule: object, view: BuilderView, new: BuildRequestDict, old: BuildRequestDict) -> bool:
        if callable(rule):
            return bool(await resolved(rule(self._master, view, dict(new), dict(old))))
        return bool(await BuildRequest.canBeCollapsed(self._master, new, old))

    async def _skip(self, new: BuildRequestDict, old: BuildRequestDict) -> None:
        update, brids = self._master.data.update, [old["buildrequestid"]]
        if not await update.claimBuildRequests(brids):
            return  # it is being built, or another master has completed it
        await update.completeBuildRequests(brids, SKIPPED)
        current: BuildRequestDict | None = await self._master.data.get({}, ("buildrequests", new["buildrequestid"]))
        if current is not None and not current["claimed"] and old["priority"] > current["priority"]:
            path = ("buildrequests", new["buildrequestid"])
            await self._master.data.control("set_priority", {"priority": old["priority"]}, path)

    async def _waiting(self, builderid: int, brid: int) -> list[BuildRequestDict]:
        query = {
            "filters": {"builderid": builderid, "claimed": False, "complete": False, "buildrequestid__le": brid},
            "order": ["-buildrequestid"],
            "limit": _OLDER,
        }
        found: list[BuildRequestDict] = await self._master.data.get(query, ("buildrequests",))
        return found
