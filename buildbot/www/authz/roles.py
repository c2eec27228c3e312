"""The roles of users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.config.errors import error
from buildbot.data.interfaces import Master
from buildbot.util.later import set_later
from buildbot.www.sessions import owner_of


class RolesFromBase:
    """Derive from it and override ``getRolesFromUser``."""

    #: the rules that it belongs to and their master, before it is asked
    authz: Any = None
    master: Master = set_later()

    def setAuthz(self, authz: Any) -> None:
        """Take the rules that it belongs to, and their master."""
        self.authz = authz
        self.master = authz.master

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """The roles of a user; ``userDetails`` has ``username``, ``email``, ``groups`` and further attributes.

        May be a coroutine.
        """
        return []


class RolesFromGroups(Declared, RolesFromBase):
    """Each of the user's groups is a role."""

    positional = ("groupPrefix",)
    groupPrefix = argument("", checks.text, doc="only groups that begin with it, and without it")

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """As ``RolesFromBase.getRolesFromUser``."""
        groups: Sequence[str] = userDetails.get("groups") or ()
        return [group.removeprefix(self.groupPrefix) for group in groups if group.startswith(self.groupPrefix)]


class RolesFromEmails(RolesFromBase):
    """By e-mail address: ``RolesFromEmails(admins=["joe@example.org"])``."""

    def __init__(self, **kwargs: Sequence[str]) -> None:
        self.roles: dict[str, list[str]] = {}
        for role, values in kwargs.items():
            try:
                self.roles[role] = checks.list_of(checks.text)(values)
            except ValueError as reason:
                error(f"{type(self).__name__}: {role} {reason}")

    def roles_with(self, value: str) -> list[str]:
        """The roles whose list has this value."""
        return [role for role, values in self.roles.items() if value in values]

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """As ``RolesFromBase.getRolesFromUser``."""
        return self.roles_with(userDetails["email"]) if userDetails.get("email") else []


class RolesFromDomain(RolesFromEmails):
    """By the domain of the e-mail address: ``RolesFromDomain(developers=["example.org"])``."""

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """As ``RolesFromBase.getRolesFromUser``."""
        _, at, domain = (userDetails.get("email") or "").rpartition("@")
        return self.roles_with(domain) if at else []


class RolesFromUsername(Declared, RolesFromBase):
    """Some roles for some users, by their names."""

    positional = ("roles", "usernames")
    roles = argument(REQUIRED, checks.list_of(checks.text), doc="the roles")
    usernames = argument(REQUIRED, checks.list_of(checks.text), doc="who has them")

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """As ``RolesFromBase.getRolesFromUser``."""
        return self.roles if userDetails.get("username") in self.usernames else []


class RolesFromOwner(Declared, RolesFromBase):
    """A role for the user who forced the build or request."""

    positional = ("role",)
    role = argument(REQUIRED, checks.name, doc="the role")

    def getRolesFromUser(self, userDetails: Mapping[str, Any], owner: str | None = None) -> Iterable[str]:
        """The roles of a user for builds that ``owner`` forced."""
        return [self.role] if owner is not None and owner_of(userDetails) == owner else []
