"""The rules together, and what holds where none decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import TypedDict

from buildbot.config.errors import error
from buildbot.data.control import ACTIONS
from buildbot.util.deferreds import resolved
from buildbot.www.authz.access import AccessRequest, Data, Target, targets
from buildbot.www.authz.endpointmatchers import ANYONE, AUTHENTICATED, EndpointMatcherBase
from buildbot.www.authz.roles import RolesFromBase
from buildbot.www.errors import RefusedError
from buildbot.www.sessions import Visitor


class Right(TypedDict):
    """To what a visitor may do something: everything or nothing, or to what is of some builders (their ids).

    Attributes:
        all: whoever it belongs to.
        own: if it is the visitor's own (`RolesFromOwner`).
    """

    all: bool | list[int]
    own: bool | list[int]


def fnmatchStrMatcher(value: str, pattern: str) -> bool:
    """Whether a shell pattern (``linux-*``) fits all of a text."""
    return fnmatchcase(value, pattern)


def reStrMatcher(value: str, pattern: str) -> bool:
    """Whether a regular expression fits all of a text."""
    return re.fullmatch(pattern, value) is not None


class Authz:
    """Who may do what.

    The first rule that fits decides, unless the visitor lacks its role and it has ``defaultDeny=False``. Where no
    rule decides everybody may read, and whoever is logged in may control.

    Args:
        allowRules: the rules, in order.
        roleMatchers: say which roles a user has.
        stringsMatcher: how rules compare names, `fnmatchStrMatcher` or `reStrMatcher`.
    """

    def __init__(
        self,
        allowRules: Sequence[object] | None = None,
        roleMatchers: Sequence[object] | None = None,
        stringsMatcher: Callable[[str, str], bool] = fnmatchStrMatcher,
    ) -> None:
        self.rules: list[EndpointMatcherBase] = []
        self.role_matchers: list[RolesFromBase] = []
        self._matcher = stringsMatcher
        for rule in allowRules or ():
            if not isinstance(rule, EndpointMatcherBase):
                error(f"Authz: allowRules must hold matchers (util.AnyEndpointMatcher(…), …), not {rule!r}")
                continue
            self.rules.append(rule)
            if stringsMatcher is reStrMatcher:
                for name, pattern in rule.patterns.items():
                    try:
                        re.compile(pattern)
                    except re.error as problem:
                        error(f"Authz: {type(rule).__name__}: {name} {pattern!r} is no regular expression: {problem}")
        for matcher in roleMatchers or ():
            if isinstance(matcher, RolesFromBase):
                self.role_matchers.append(matcher)
            else:
                error(f"Authz: roleMatchers must hold matchers (util.RolesFromGroups(…), …), not {matcher!r}")

    async def check(self, visitor: Visitor, asked: AccessRequest, data: Data, anonymous_control: bool = False) -> None:
        """Refuse what the visitor may not do.

        Args:
            anonymous_control: whether visitors who are not logged in may control where no rule decides.

        Raises:
            RefusedError: 403.
        """
        relevant = [rule for rule in self.rules if rule.covers(asked)]
        if relevant:
            by_owner = any(True for matcher in self.role_matchers for _ in matcher.roles_of_owner())
            about = {name for rule in relevant for name in rule.patterns}
            needed = by_owner or bool(about)
            roles = await self._roles(visitor)
            undecided = False
            for subject in await targets(asked, data, bool(about - {"builder"})) if needed else [Target()]:
                had = roles | self._owned(visitor, subject)
                rule = self._deciding(relevant, had, asked, subject)
                if rule is None:
                    undecided = True
                elif rule.role not in had:
                    raise RefusedError(403, f"you need to have role '{rule.role}'")
            if not undecided:
                return
        if not asked.reads and visitor.user is None and not anonymous_control:
            raise RefusedError(403, "you need to be logged in")

    async def rights(self, visitor: Visitor, data: Data, anonymous_control: bool = False) -> dict[str, Right]:
        """What the visitor may do, by action (``builds/stop``), so that pages offer no more than that.

        It says in advance what `check` says of each request; arguments of an action are not known yet.

        Args:
            anonymous_control: as for `check`.
        """
        roles = await self._roles(visitor)
        otherwise = visitor.user is not None or anonymous_control
        builders: dict[int, str] | None = None
        found: dict[str, Right] = {}
        for action in ACTIONS:
            asked = AccessRequest((action.plural, "1"), action.name)
            relevant = [rule for rule in self.rules if rule.covers(asked)]
            if any(rule.builder is not None for rule in relevant) and builders is None:
                builders = {builder["builderid"]: builder["name"] for builder in await data.get({}, ("builders",))}
            right: dict[str, bool | list[int]] = {}
            for whose, had in (("all", roles), ("own", roles | self._of_owner(visitor))):
                may = partial(self._may, relevant, had, asked, otherwise)
                if any(rule.builder is not None for rule in relevant):
                    right[whose] = [builderid for builderid, name in (builders or {}).items() if may(Target(name))]
                else:
                    right[whose] = may(Target())
            found[f"{action.plural}/{action.name}"] = Right(all=right["all"], own=right["own"])
        return found

    def _may(
        self, rules: list[EndpointMatcherBase], roles: set[str], asked: AccessRequest, otherwise: bool, subject: Target
    ) -> bool:
        rule = self._deciding(rules, roles, asked, subject)
        return otherwise if rule is None else rule.role in roles

    def _deciding(
        self, rules: list[EndpointMatcherBase], roles: set[str], asked: AccessRequest, subject: Target
    ) -> EndpointMatcherBase | None:
        """The rule that decides: it allows if its role is there, and refuses otherwise."""
        for rule in rules:
            if not rule.fits(asked, subject, self._matcher):
                continue
            if rule.role in roles:
                if rule.is_sure(subject):
                    return rule
                # The role is for some builds; others may be concerned too.
            elif rule.defaultDeny:
                return rule
        return None

    async def _roles(self, visitor: Visitor) -> set[str]:
        roles = {ANYONE}
        if visitor.user is not None:
            roles.add(AUTHENTICATED)
            for matcher in self.role_matchers:
                roles.update(await resolved(matcher.getRolesFromUser(visitor.user)))
        return roles

    def _owned(self, visitor: Visitor, subject: Target) -> set[str]:
        return set() if subject.owner is None or subject.owner != visitor.owner else self._of_owner(visitor)

    def _of_owner(self, visitor: Visitor) -> set[str]:
        """The roles that the visitor has for what is his own."""
        if visitor.user is None:
            return set()
        return {role for matcher in self.role_matchers for role in matcher.roles_of_owner()}
