"""Rules: a rule names a role that some requests need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.data.interfaces import Master
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.later import set_later
from buildbot.www.authz import named
from buildbot.www.authz.access import AccessRequest, Target, targets

#: the role of every visitor, and the role of visitors who are logged in
ANYONE = "anyone"
AUTHENTICATED = "authenticated"


class Match:
    """The result of a user-written rule that fits a request.

    Args:
        master: the master.
        build, buildrequest, buildset: the target of the request, as the Data API gives it. The user in its ``owner``
            property has roles from `RolesFromOwner`.
    """

    def __init__(
        self,
        master: Master,
        build: Mapping[str, Any] | None = None,
        buildrequest: Mapping[str, Any] | None = None,
        buildset: Mapping[str, Any] | None = None,
    ) -> None:
        self.master = master
        self.build = build
        self.buildrequest = buildrequest
        self.buildset = buildset

    @deferred
    async def getOwner(self) -> str | None:
        """The ``owner`` property of the target; None if there is none."""
        bsid: int | None = None if self.buildset is None else self.buildset["bsid"]
        request = self.buildrequest
        if bsid is None and request is None and self.build is not None:
            request = await self.master.data.get({}, ("buildrequests", self.build["buildrequestid"]))
        if bsid is None and request is not None:
            bsid = request["buildsetid"]
        if bsid is None:
            return None
        path = ("buildsets", bsid, "properties")
        found: Mapping[str, Sequence[Any]] | None = await self.master.data.get({}, path)
        value: object = (found or {}).get("owner", (None, ""))[0]
        return value if isinstance(value, str) else None


class _OwnedMatch(Match):
    """A match whose owner is known already."""

    def __init__(self, master: Master, owner: str | None) -> None:
        super().__init__(master)
        self.__owner = owner

    @deferred
    async def getOwner(self) -> str | None:
        """As ``Match.getOwner``."""
        return self.__owner


class Rules(Protocol):
    """The rules that a rule belongs to; see `buildbot.www.authz.authz.Authz`."""

    @property
    def master(self) -> Master:
        """The master that they protect."""

    @property
    def match(self) -> Callable[[str, str], bool]:
        """How names are compared with patterns."""


class EndpointMatcherBase(Declared):
    """A rule of ``Authz(allowRules=[…])``.

    Derive from it for a rule of your own and override ``match``, or define methods for single endpoints. These are
    named ``match_<Endpoint>_<action>`` or ``match_<Endpoint>`` (``match_BuildEndpoint_stop``,
    ``match_WorkersEndpoint``) and called with the endpoint, the variables of its path, and the arguments of the action.
    """

    positional: ClassVar[tuple[str, ...]] = ("role", "defaultDeny")
    role = argument(
        REQUIRED,
        checks.name,
        doc="visitors with this role are allowed; all have `anyone`, and those who are logged in `authenticated`",
    )
    defaultDeny = argument(
        True, checks.boolean, doc="whether visitors without the role are refused; otherwise the next rule is asked"
    )

    #: patterns of the rule's targets: names of builders, branches and projects of source stamps; None: all
    builder: str | None = None
    branch: str | None = None
    project: str | None = None
    #: the rules that it belongs to and their master, before it is asked
    authz: Rules = set_later()
    master: Master = set_later()

    def setAuthz(self, authz: Rules) -> None:
        """Take the rules that it belongs to, and their master."""
        self.authz = authz
        self.master = authz.master

    @deferred
    async def match(self, ep: Sequence[str], action: str = "get", options: Mapping[str, Any] | None = None) -> Any:
        """A `Match` if the rule decides about a request, else None.

        Args:
            ep: segments of the Data API's path.
            action: ``GET``, or the name of a control action.
            options: arguments of the action.
        """
        asked = named.asked(ep, action, options)
        endpoint = named.endpoint_at(self.master, asked.path)
        method = None if endpoint is None else endpoint.method_of(self, action)
        if endpoint is not None and method is not None:
            return await resolved(method(endpoint, endpoint.variables, dict(asked.params)))
        if not self.covers(asked):
            return None
        for subject in await targets(asked, self.master.data, bool(restrictions(self).keys() - {"builder"})):
            if fits(self, asked, subject, self.authz.match):
                return _OwnedMatch(self.master, subject.owner)
        return None

    def covers(self, asked: AccessRequest) -> bool:
        """Whether it fits such requests, for some builder."""
        return False


def decides_itself(rule: EndpointMatcherBase) -> bool:
    """Whether the class of a rule has its own ``match``, or methods for endpoints."""
    kind = type(rule)
    return kind.match is not EndpointMatcherBase.match or named.has_methods(kind)


def restrictions(rule: EndpointMatcherBase) -> dict[str, str]:
    """The patterns that restrict a rule; empty: it fits all."""
    patterns = {"builder": rule.builder, "branch": rule.branch, "project": rule.project}
    return {name: pattern for name, pattern in patterns.items() if pattern is not None}


def fits(rule: EndpointMatcherBase, asked: AccessRequest, subject: Target, matcher: Callable[[str, str], bool]) -> bool:
    """Whether a rule decides about a request for the target ``subject``."""
    # A target of any builder may be of this builder: a request for all must not evade a rule.
    return rule.covers(asked) and all(
        value is None or matcher(value, pattern) for value, pattern in _compared(rule, subject)
    )


def is_sure(rule: EndpointMatcherBase, subject: Target) -> bool:
    """Whether the target has all attributes that a rule restricts."""
    return all(value is not None for value, _ in _compared(rule, subject))


def _compared(rule: EndpointMatcherBase, subject: Target) -> list[tuple[str | None, str]]:
    return [(getattr(subject, name), pattern) for name, pattern in restrictions(rule).items()]


class AnyEndpointMatcher(EndpointMatcherBase):
    """All requests, reads included."""

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return True


class AnyControlEndpointMatcher(EndpointMatcherBase):
    """All requests but reads."""

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return not asked.reads


class _OfBuilder(EndpointMatcherBase):
    """A rule that may be restricted to builders by name."""

    positional: ClassVar[tuple[str, ...]] = ("builder", "role", "defaultDeny")
    builder = argument(
        None, checks.optional(checks.text), doc="a pattern of names, for `stringsMatcher`; None: all builders"
    )


class ForceBuildEndpointMatcher(_OfBuilder):
    """Forcing builds."""

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return asked.action == "force"


class StopBuildEndpointMatcher(_OfBuilder):
    """Stopping builds and cancelling requests."""

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return "workers" not in asked.path and asked.action in ("stop", "cancel")


class RebuildBuildEndpointMatcher(_OfBuilder):
    """Rebuilding."""

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return asked.action == "rebuild"


class EnableSchedulerEndpointMatcher(EndpointMatcherBase):
    """Switching schedulers on and off."""

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return asked.action == "enable"


class ViewBuildsEndpointMatcher(_OfBuilder):
    """Reading builds and the resources that belong to them: steps, logs, properties, and their events.

    Rows are not filtered: a list that may hold such builds is refused as a whole. If a build has several source stamps,
    each must be allowed.
    """

    positional: ClassVar[tuple[str, ...]] = ("branch", "project", "builder", "role", "defaultDeny")
    branch = argument(
        None,
        checks.optional(checks.text),
        doc="a pattern of the branch of a source stamp; the default branch is the empty text",
    )
    project = argument(None, checks.optional(checks.text), doc="a pattern of the project of a source stamp")

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return asked.shows_builds
