"""The rules together, and the decision where no rule fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypedDict, TypeVar

from twisted.internet.defer import Deferred

from buildbot.config import checks
from buildbot.config.arguments import Declared, argument
from buildbot.config.errors import error
from buildbot.data.control import ACTIONS
from buildbot.data.interfaces import Master
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.later import set_later
from buildbot.www.authz import named
from buildbot.www.authz.access import AccessRequest, Data, Target, targets
from buildbot.www.authz.endpointmatchers import (
    ANYONE,
    AUTHENTICATED,
    EndpointMatcherBase,
    decides_itself,
    fits,
    is_sure,
    restrictions,
)
from buildbot.www.authz.roles import RolesFromBase, RolesFromOwner
from buildbot.www.errors import RefusedError
from buildbot.www.sessions import Visitor

T = TypeVar("T")


class Right(TypedDict):
    """The resources that a visitor may control: all, none, or those of some builders (their ids).

    Attributes:
        all: of any owner.
        own: of the visitor (`RolesFromOwner`).
    """

    all: bool | list[int]
    own: bool | list[int]


def fnmatchStrMatcher(value: str, pattern: str) -> bool:
    """Whether a shell pattern (``linux-*``) fits all of a text."""
    return fnmatchcase(value, pattern)


def reStrMatcher(value: str, pattern: str) -> bool:
    """Whether a regular expression fits all of a text."""
    return re.fullmatch(pattern, value) is not None


class Forbidden(RefusedError):
    """The visitor may not do that.

    Args:
        msg: the message for the visitor.
    """

    def __init__(self, msg: str | bytes) -> None:
        super().__init__(403, msg.decode(errors="replace") if isinstance(msg, bytes) else msg)


def _rule(value: object) -> EndpointMatcherBase:
    if not isinstance(value, EndpointMatcherBase):
        raise ValueError(f"must be a matcher such as util.AnyEndpointMatcher(role=…), not {checks.kind(value)}")
    return value


def _role_matcher(value: object) -> RolesFromBase:
    if not isinstance(value, RolesFromBase):
        raise ValueError(f"must be a matcher such as util.RolesFromGroups(), not {checks.kind(value)}")
    return value


def _none_or(check: checks.CheckOf[list[T]]) -> checks.CheckOf[list[T]]:
    return lambda value: [] if value is None else check(value)


class Authz(Declared):
    """Decides what each visitor may do.

    The first rule that fits decides, unless the visitor lacks its role and it has ``defaultDeny=False``. Where no
    rule decides, all visitors may read, and those who are logged in may control.

    Derive from it and override ``assertUserAllowed`` or ``getRolesFromUser`` for decisions of your own.
    """

    positional = ("allowRules", "roleMatchers", "stringsMatcher")
    allowRules: Sequence[EndpointMatcherBase] = argument((), _none_or(checks.list_of(_rule)), doc="the rules, in order")
    roleMatchers: Sequence[RolesFromBase] = argument(
        (), _none_or(checks.list_of(_role_matcher)), doc="give the roles of a user"
    )
    stringsMatcher: Callable[..., Any] = argument(
        fnmatchStrMatcher,
        checks.function,
        doc="how rules compare names: `util.fnmatchStrMatcher`, `util.reStrMatcher` or another f(value, pattern)",
    )

    #: the master; known once the web server has been made
    master: Master = set_later()
    __anonymous_control = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__own_rules = {id(rule) for rule in self.allowRules if decides_itself(rule)}  # may not be hashable
        if self.stringsMatcher is not reStrMatcher:
            return
        for rule in self.allowRules:
            for name, pattern in restrictions(rule).items():
                try:
                    re.compile(pattern)
                except re.error as problem:
                    error(f"{type(rule).__name__}: {name} {pattern!r} is no regular expression: {problem}")

    @property
    def match(self) -> Callable[[str, str], bool]:
        """Whether a name fits a pattern, by `stringsMatcher`."""
        return self.stringsMatcher

    @property
    def ownerRoleMatchers(self) -> list[RolesFromOwner]:
        """The role matchers that need the owner of the request's target."""
        return [each for each in self.roleMatchers if isinstance(each, RolesFromOwner)]

    def getConfigDict(self) -> dict[str, Any]:
        """The description for pages: empty."""
        return {}

    def setMaster(self, master: Master) -> None:
        """Take the master."""
        self.master = master
        for rule in self.allowRules:
            rule.setAuthz(self)
        for matcher in self.roleMatchers:
            matcher.setAuthz(self)

    def attach(self, master: Master, anonymous_control: bool) -> None:
        """Prepare for requests.

        Args:
            master: the master.
            anonymous_control: whether visitors who are not logged in may control where no rule decides.
        """
        self.__anonymous_control = anonymous_control
        self.setMaster(master)

    def may_guard(self, asked: AccessRequest) -> bool:
        """Whether some rule may fit such requests."""
        return self.__is_overridden or any(
            id(rule) in self.__own_rules or rule.covers(asked) for rule in self.allowRules
        )

    @property
    def decides(self) -> bool:
        """Whether there are rules or decisions: without them all visitors may read."""
        return bool(self.allowRules) or self.__is_overridden

    @property
    def __is_overridden(self) -> bool:
        return type(self).assertUserAllowed is not Authz.assertUserAllowed

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> set[str] | Deferred[set[str]]:
        """The roles that a user has everywhere; a Deferred if a role matcher gives one."""
        roles = {ANYONE}
        if userDetails.get("anonymous"):
            return roles
        roles.add(AUTHENTICATED)
        given = [
            each.getRolesFromUser(userDetails) for each in self.roleMatchers if not isinstance(each, RolesFromOwner)
        ]
        if all(isinstance(each, list | tuple | set | frozenset) for each in given):
            return roles.union(*given)
        return self.__gathered(roles, given)

    @deferred
    async def __gathered(self, roles: set[str], given: Sequence[Any]) -> set[str]:
        for each in given:
            roles.update(await resolved(each))
        return roles

    @deferred
    async def getOwnerRolesFromUser(self, userDetails: Mapping[str, Any], owner: str | None) -> set[str]:
        """The roles that a user has for builds that ``owner`` has forced."""
        roles: set[str] = set()
        if owner is not None and not userDetails.get("anonymous"):
            for each in self.ownerRoleMatchers:
                roles.update(await resolved(each.getRolesFromUser(userDetails, owner)))
        return roles

    @deferred
    async def assertUserAllowed(
        self, ep: Sequence[str], action: str, options: Mapping[str, Any], userDetails: Mapping[str, Any]
    ) -> None:
        """Raise an error if a user may not do this.

        Args:
            ep: segments of the Data API's path.
            action: ``GET``, or the name of a control action.
            options: arguments of the action.
            userDetails: the attributes of the user; ``{"anonymous": True}`` for a visitor who is not logged in.

        Raises:
            Forbidden: the user may not.
        """
        visitor = Visitor(None if userDetails.get("anonymous") else userDetails)
        asked = named.asked(ep, action, options)
        await self.__decide(visitor, asked, self.master.data, self.__anonymous_control)

    async def check(self, visitor: Visitor, asked: AccessRequest, data: Data, anonymous_control: bool = False) -> None:
        """Raise an error if the visitor may not do this.

        Args:
            anonymous_control: whether visitors who are not logged in may control where no rule decides.

        Raises:
            RefusedError: 403.
        """
        if self.__is_overridden:
            details = {"anonymous": True} if visitor.user is None else dict(visitor.user)
            options = named.Options(asked)
            await resolved(self.assertUserAllowed(asked.path, named.action_of(asked), options, details))
        else:
            await self.__decide(visitor, asked, data, anonymous_control)

    async def __decide(self, visitor: Visitor, asked: AccessRequest, data: Data, anonymous_control: bool) -> None:
        relevant = [rule for rule in self.allowRules if id(rule) in self.__own_rules or rule.covers(asked)]
        if relevant:
            about = {name for rule in relevant for name in restrictions(rule)}
            roles = await self.__roles(visitor)
            matches: dict[int, Any] = {}
            undecided = False
            needed = bool(self.ownerRoleMatchers or about)
            for subject in await targets(asked, data, bool(about - {"builder"})) if needed else [Target()]:
                had = roles | await self.__owned(visitor, subject.owner)
                if await self.__allows(relevant, had, visitor, asked, subject, matches) is None:
                    undecided = True
            if not undecided:
                return
        if not asked.reads and visitor.user is None and not anonymous_control:
            raise Forbidden("you need to be logged in")

    async def __allows(
        self,
        rules: Sequence[EndpointMatcherBase],
        had: set[str],
        visitor: Visitor,
        asked: AccessRequest,
        subject: Target,
        matches: dict[int, Any],
    ) -> EndpointMatcherBase | None:
        """The rule that allows a request for the target ``subject``; None if no rule decides.

        Args:
            matches: the results of user-written rules for this request, by the rule's id; each rule is asked once.

        Raises:
            Forbidden: a rule refuses it.
        """
        for rule in rules:
            if id(rule) in self.__own_rules:
                if id(rule) not in matches:
                    said = rule.match(asked.path, named.action_of(asked), named.Options(asked))
                    matches[id(rule)] = await resolved(said)
                if matches[id(rule)] is None:
                    continue
                if rule.role in had or rule.role in await self.__owned(visitor, await _owner_of(matches[id(rule)])):
                    return rule
            elif not fits(rule, asked, subject, self.match):
                continue
            elif rule.role in had:
                if is_sure(rule, subject):
                    return rule
                continue  # The visitor has the role for some builds only, and the request may concern others.
            if rule.defaultDeny:
                raise Forbidden(f"you need to have role '{rule.role}'")
        return None

    async def rights(self, visitor: Visitor, data: Data, anonymous_control: bool = False) -> dict[str, Right]:
        """The rights of the visitor by action (``builds/stop``), for the controls that pages offer.

        They foretell the results of `check`, without the arguments of an action. An action that only a user-written
        decision can judge counts as allowed.

        Args:
            anonymous_control: as for `check`.
        """
        roles = await self.__roles(visitor)
        own_roles = roles | await self.__owned(visitor, visitor.owner)
        otherwise = visitor.user is not None or anonymous_control
        builders: dict[int, str] | None = None
        found: dict[str, Right] = {}
        for action in ACTIONS:
            if self.__is_overridden:
                found[f"{action.plural}/{action.name}"] = Right(all=True, own=True)
                continue
            asked = AccessRequest((action.plural, "1"), action.name)
            relevant = [rule for rule in self.allowRules if id(rule) in self.__own_rules or rule.covers(asked)]
            by_builder = any(rule.builder is not None for rule in relevant if id(rule) not in self.__own_rules)
            if by_builder and builders is None:
                builders = {builder["builderid"]: builder["name"] for builder in await data.get({}, ("builders",))}
            right: dict[str, bool | list[int]] = {}
            for whose, had in (("all", roles), ("own", own_roles)):
                may = partial(self.__may, relevant, had, asked, otherwise)
                if by_builder:
                    right[whose] = [builderid for builderid, name in (builders or {}).items() if may(Target(name))]
                else:
                    right[whose] = may(Target())
            found[f"{action.plural}/{action.name}"] = Right(all=right["all"], own=right["own"])
        return found

    def __may(
        self,
        rules: Sequence[EndpointMatcherBase],
        had: set[str],
        asked: AccessRequest,
        otherwise: bool,
        subject: Target,
    ) -> bool:
        """Whether the rules allow this to a visitor with these roles."""
        for rule in rules:
            own = id(rule) in self.__own_rules
            if not own and not fits(rule, asked, subject, self.match):
                continue
            if rule.role in had:
                if own or is_sure(rule, subject):
                    return True
            elif rule.defaultDeny and not own:
                return False
        return otherwise

    async def __roles(self, visitor: Visitor) -> set[str]:
        details = {"anonymous": True} if visitor.user is None else visitor.user
        return set(await resolved(self.getRolesFromUser(details)))

    async def __owned(self, visitor: Visitor, owner: str | None) -> set[str]:
        """The roles that the visitor has for resources of ``owner``."""
        if visitor.user is None or owner is None:
            return set()
        return set(await resolved(self.getOwnerRolesFromUser(visitor.user, owner)))


async def _owner_of(match: Any) -> str | None:
    owner: str | None = await resolved(match.getOwner())
    return owner
