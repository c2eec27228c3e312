"""Which roles a user has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from buildbot.config.errors import error


class RolesFromBase:
    """Derive from it and override ``getRolesFromUser``."""

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """The roles of a user; ``userDetails`` has ``username``, ``email``, ``groups`` and what else is known."""
        return []

    def roles_of_owner(self) -> Iterable[str]:
        """The roles that the owner of a build or request has for it."""
        return []


class RolesFromGroups(RolesFromBase):
    """Each of the user's groups is a role.

    Args:
        groupPrefix: only groups that begin with it, without it.
    """

    def __init__(self, groupPrefix: str = "") -> None:
        self._prefix = groupPrefix

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """As ``RolesFromBase.getRolesFromUser``."""
        groups = userDetails.get("groups") or []
        return [group.removeprefix(self._prefix) for group in groups if group.startswith(self._prefix)]


class _RolesFromLists(RolesFromBase):
    """Roles as keywords, each with a list of what gives it."""

    def __init__(self, **roles: Sequence[str]) -> None:
        for role, values in roles.items():
            if isinstance(values, str) or not all(isinstance(each, str) for each in values):
                error(f"{type(self).__name__}: {role} must be a list of strings")
                roles[role] = []
        self._roles = roles

    def _roles_with(self, value: str) -> list[str]:
        return [role for role, values in self._roles.items() if value in values]


class RolesFromEmails(_RolesFromLists):
    """By e-mail address: ``RolesFromEmails(admins=["joe@example.org"])``."""

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """As ``RolesFromBase.getRolesFromUser``."""
        return self._roles_with(userDetails["email"]) if userDetails.get("email") else []


class RolesFromDomain(_RolesFromLists):
    """By the domain of the e-mail address: ``RolesFromDomain(developers=["example.org"])``."""

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """As ``RolesFromBase.getRolesFromUser``."""
        _, at, domain = (userDetails.get("email") or "").rpartition("@")
        return self._roles_with(domain) if at else []


class RolesFromUsername(RolesFromBase):
    """Some roles for some users, by their names."""

    def __init__(self, roles: Sequence[str], usernames: Sequence[str]) -> None:
        for name, value in (("roles", roles), ("usernames", usernames)):
            if isinstance(value, str):
                error(f"RolesFromUsername: {name} must be a list of strings")
        self._roles = list(roles)
        self._usernames = frozenset(usernames)

    def getRolesFromUser(self, userDetails: Mapping[str, Any]) -> Iterable[str]:
        """As ``RolesFromBase.getRolesFromUser``."""
        return self._roles if userDetails.get("username") in self._usernames else []


class RolesFromOwner(RolesFromBase):
    """A role for whoever has forced the build or request that it is about."""

    def __init__(self, role: str) -> None:
        self._role = role

    def roles_of_owner(self) -> Iterable[str]:
        """As ``RolesFromBase.roles_of_owner``."""
        return [self._role]
