"""The rules together, and what holds where none decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from buildbot.config.errors import error
from buildbot.www.auth import resolved
from buildbot.www.authz.asked import Asked, Data, Subject, subjects
from buildbot.www.authz.endpointmatchers import ANYONE, AUTHENTICATED, EndpointMatcherBase
from buildbot.www.authz.roles import RolesFromBase
from buildbot.www.errors import RefusedError
from buildbot.www.sessions import Visitor

#: one for each kind of rule
_ACTIONS = ("stop", "rebuild", "force", "enable", "pause")


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
        allowRules: Sequence[Any] | None = None,
        roleMatchers: Sequence[Any] | None = None,
        stringsMatcher: Callable[[str, str], bool] = fnmatchStrMatcher,
    ) -> None:
        self.rules: list[Any] = list(allowRules or [])
        self.role_matchers: list[Any] = list(roleMatchers or [])
        self._matcher = stringsMatcher
        for rule in self.rules:
            if not isinstance(rule, EndpointMatcherBase):
                error(f"Authz: allowRules must hold matchers (util.AnyEndpointMatcher(…), …), not {rule!r}")
            elif stringsMatcher is reStrMatcher:
                for name, pattern in rule.patterns.items():
                    try:
                        re.compile(pattern)
                    except re.error as problem:
                        error(f"Authz: {type(rule).__name__}: {name} {pattern!r} is no regular expression: {problem}")
        for matcher in self.role_matchers:
            if not isinstance(matcher, RolesFromBase):
                error(f"Authz: roleMatchers must hold matchers (util.RolesFromGroups(…), …), not {matcher!r}")

    async def check(self, visitor: Visitor, asked: Asked, data: Data, anonymous_control: bool = False) -> None:
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
            for subject in await subjects(asked, data, bool(about - {"builder"})) if needed else [Subject()]:
                undecided |= not self._decide(relevant, roles | self._owned(visitor, subject), asked, subject)
            if not undecided:
                return
        if not asked.reads and visitor.user is None and not anonymous_control:
            raise RefusedError(403, "you need to be logged in")

    async def may_control(self, visitor: Visitor, anonymous_control: bool) -> bool:
        """Whether there is anything that the visitor may control; pages offer nothing otherwise."""
        roles = await self._roles(visitor)
        if visitor.user is not None:
            roles |= {role for matcher in self.role_matchers for role in matcher.roles_of_owner()}
        for action in (Asked(("builds", "1"), name) for name in _ACTIONS):
            for rule in self.rules:
                if rule.covers(action):
                    if rule.role in roles:
                        return True
                    if rule.defaultDeny and not rule.patterns:
                        break
            else:
                if visitor.user is not None or anonymous_control:
                    return True
        return False

    def _decide(self, rules: list[EndpointMatcherBase], roles: set[str], asked: Asked, subject: Subject) -> bool:
        """Whether a rule allows it; False if none decides."""
        for rule in rules:
            if not rule.fits(asked, subject, self._matcher):
                continue
            if rule.role in roles:
                if rule.is_sure(subject):
                    return True
                # The role is for some builds; others may be concerned too.
            elif rule.defaultDeny:
                raise RefusedError(403, f"you need to have role '{rule.role}'")
        return False

    async def _roles(self, visitor: Visitor) -> set[str]:
        roles = {ANYONE}
        if visitor.user is not None:
            roles.add(AUTHENTICATED)
            for matcher in self.role_matchers:
                roles.update(await resolved(matcher.getRolesFromUser(visitor.user)))
        return roles

    def _owned(self, visitor: Visitor, subject: Subject) -> set[str]:
        if visitor.user is None or subject.owner is None or subject.owner != visitor.owner:
            return set()
        return {role for matcher in self.role_matchers for role in matcher.roles_of_owner()}
