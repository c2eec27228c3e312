"""Rules: which requests need which role."""

from __future__ import annotations

from collections.abc import Callable

from buildbot.www.authz.access import AccessRequest, Target

#: a role that every visitor has, and one that everybody has who is logged in
ANYONE = "anyone"
AUTHENTICATED = "authenticated"


class EndpointMatcherBase:
    """A rule of ``Authz(allowRules=[…])``.

    Args:
        role: whoever has it is allowed; ``anyone`` and ``authenticated`` are roles that nobody has to give.
        defaultDeny: whoever lacks the role is refused; otherwise the next rule is asked.
    """

    #: patterns of what the rule is about: names of builders, branches and projects of source stamps; None: all
    builder: str | None = None
    branch: str | None = None
    project: str | None = None

    def __init__(self, role: str, defaultDeny: bool = True) -> None:
        self.role = role
        self.defaultDeny = defaultDeny

    def covers(self, asked: AccessRequest) -> bool:
        """Whether it is about such requests, whichever builder they concern."""
        raise NotImplementedError

    def fits(self, asked: AccessRequest, subject: Target, matcher: Callable[[str, str], bool]) -> bool:
        """Whether it decides about a request as far as it concerns ``subject``."""
        # What may be any builder's may be this one's: nobody reads around a rule by asking for everything.
        return self.covers(asked) and all(
            value is None or matcher(value, pattern) for value, pattern in self._compared(subject)
        )

    @property
    def patterns(self) -> dict[str, str]:
        """By what the rule is restricted; empty: by nothing."""
        named = {"builder": self.builder, "branch": self.branch, "project": self.project}
        return {name: pattern for name, pattern in named.items() if pattern is not None}

    def is_sure(self, subject: Target) -> bool:
        """Whether all that the rule asks about is known of ``subject``."""
        return all(value is not None for value, _ in self._compared(subject))

    def _compared(self, subject: Target) -> list[tuple[str | None, str]]:
        return [(getattr(subject, name), pattern) for name, pattern in self.patterns.items()]


class AnyEndpointMatcher(EndpointMatcherBase):
    """Everything, reading included."""

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return True


class AnyControlEndpointMatcher(EndpointMatcherBase):
    """Everything but reading."""

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return not asked.reads


class _OfBuilder(EndpointMatcherBase):
    """A rule that may be about the builders with some name.

    Args:
        builder: a pattern of names, in the way of ``stringsMatcher``; None: all.
    """

    def __init__(self, builder: str | None = None, role: str | None = None, defaultDeny: bool = True) -> None:
        if role is None:
            raise TypeError(f"{type(self).__name__}: role is required")
        super().__init__(role, defaultDeny)
        self.builder = builder


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
    """Reading builds and what belongs to them: steps, logs, properties, and their events.

    Rows are not filtered: a list that may hold such builds is refused as a whole. Of a build of several source stamps
    each must be allowed.

    Args:
        branch, project: patterns, of a source stamp of the build; the default branch is ``""``.
        builder: a pattern of names of builders.
    """

    def __init__(
        self,
        branch: str | None = None,
        project: str | None = None,
        builder: str | None = None,
        role: str | None = None,
        defaultDeny: bool = True,
    ) -> None:
        super().__init__(builder, role, defaultDeny)
        self.branch = branch
        self.project = project

    def covers(self, asked: AccessRequest) -> bool:
        """As ``EndpointMatcherBase.covers``."""
        return asked.shows_builds
