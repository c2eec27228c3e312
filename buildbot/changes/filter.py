"""ChangeFilter: which changes a scheduler looks at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from buildbot.changes.changes import Change
from buildbot.config.errors import error
from buildbot.process.configured import Configured, checked_function

ATTRIBUTES = ("project", "repository", "branch", "category", "codebase")


class _NotABranch:
    """The value of ``branch`` if it is not given: None means the default branch."""

    def __repr__(self) -> str:
        return "NotABranch"


NotABranch: Final = _NotABranch()

Criterion = Callable[[Any], bool]


def _one_of(values: Any) -> Criterion:
    allowed = list(values) if isinstance(values, list | tuple | set | frozenset) else [values]
    return lambda value: value in allowed


def _matches(patterns: Any) -> Criterion:
    listed = list(patterns) if isinstance(patterns, list | tuple | set | frozenset) else [patterns]
    compiled = [re.compile(each) for each in listed]  # re.compile takes compiled ones too
    return lambda value: any(each.match("" if value is None else str(value)) for each in compiled)


def _not(criterion: Criterion) -> Criterion:
    return lambda value: not criterion(value)


#: the suffixes of an attribute's name, and the criteria that they make of a value
CRITERIA: dict[str, Callable[[Any], Criterion]] = {
    "": _one_of,
    "_eq": _one_of,
    "_not_eq": lambda values: _not(_one_of(values)),
    "_re": _matches,
    "_not_re": lambda patterns: _not(_matches(patterns)),
    "_fn": lambda function: function,
}


class ChangeFilter(Configured):
    """Passes the changes that meet every criterion given; without any, all changes.

    Args:
        filter_fn: function of the `Change`, true to let it pass.
        branch: name or list of names; None is the default branch, leaving it out means any.
        project, repository, category, codebase: value or list of values.
        properties: criteria for the change's properties by name: a value, a list of values, a compiled
            pattern or a function of the value; a property that the change does not have counts as None.
        **criteria: an attribute's name followed by ``_eq``, ``_not_eq`` (value or list), ``_re``, ``_not_re``
            (pattern or list of patterns; they must match from the beginning, None counts as empty) or ``_fn``
            (function of the value).
    """

    def __init__(
        self,
        filter_fn: Callable[[Change], bool] | None = None,
        branch: Any = NotABranch,
        project: Any = None,
        repository: Any = None,
        category: Any = None,
        codebase: Any = None,
        properties: Mapping[str, Any] | None = None,
        **criteria: Any,
    ) -> None:
        self.filter_fn = checked_function(filter_fn, "ChangeFilter: filter_fn")
        plain = {"project": project, "repository": repository, "category": category, "codebase": codebase}
        given = {name: value for name, value in plain.items() if value is not None}
        given |= {name: value for name, value in criteria.items() if value is not None or name.endswith("_eq")}
        if not isinstance(branch, _NotABranch):
            given["branch"] = branch
        self.checks: list[tuple[str, Criterion]] = []
        for name, value in given.items():
            self.__add_check(name, value)
        self.property_checks = [(name, _property_criterion(value)) for name, value in (properties or {}).items()]
        self.__shown = ", ".join(f"{name}={value!r}" for name, value in given.items())

    def __add_check(self, name: str, value: Any) -> None:
        for attribute in ATTRIBUTES:
            make = CRITERIA.get(name.removeprefix(attribute)) if name.startswith(attribute) else None
            if make is None:
                continue
            if name.endswith("_fn") and not callable(value):
                error(f"ChangeFilter: {name} must be a function, not {value!r}")
                return
            try:
                self.checks.append((attribute, make(value)))
            except (re.error, TypeError) as problem:
                error(f"ChangeFilter: {name}={value!r} is no pattern: {problem}")
            return
        error(f"ChangeFilter: unknown argument {name!r}")

    def __repr__(self) -> str:
        return f"<ChangeFilter {self.__shown or 'any'}>"

    def filter_change(self, change: Change) -> bool:
        """Whether the change passes."""
        if self.filter_fn is not None and not self.filter_fn(change):
            return False
        return all(check(getattr(change, attribute)) for attribute, check in self.checks) and all(
            check(change.properties.getProperty(name)) for name, check in self.property_checks
        )


def _property_criterion(value: Any) -> Criterion:
    if isinstance(value, re.Pattern):
        return _matches(value)
    return value if callable(value) else _one_of(value)


class GerritChangeFilter(ChangeFilter):
    """Passes events of Gerrit: a `ChangeFilter` that knows their kinds and the branches that changes are for.

    Args:
        eventtype, eventtype_re, eventtype_fn: criteria for the kind, such as ``patchset-created``.
        branch, branch_re, branch_fn: criteria for the branch that a change is for; of an event that is about no change,
            the branch itself.
        criteria: others, as for `ChangeFilter`.
    """

    def __init__(
        self,
        branch: Any = NotABranch,
        branch_re: Any = None,
        branch_fn: Callable[[Any], bool] | None = None,
        eventtype: Any = None,
        eventtype_re: Any = None,
        eventtype_fn: Callable[[Any], bool] | None = None,
        **criteria: Any,
    ) -> None:
        super().__init__(**criteria)
        self.__kinds = _criteria(
            "eventtype", NotABranch if eventtype is None else eventtype, eventtype_re, eventtype_fn
        )
        self.__branches = _criteria("branch", branch, branch_re, branch_fn)

    def filter_change(self, change: Change) -> bool:
        """Whether the change passes."""
        properties = change.properties
        branch = properties.getProperty("event.change.branch", change.branch)
        return (
            super().filter_change(change)
            and all(passes(properties.getProperty("event.type")) for passes in self.__kinds)
            and all(passes(branch) for passes in self.__branches)
        )


def _criteria(name: str, values: Any, patterns: Any, function: Any) -> list[Criterion]:
    """The criteria of a value, those that are given; mistakes are reported."""
    found = [] if isinstance(values, _NotABranch) else [_one_of(values)]
    if patterns is not None:
        try:
            found.append(_matches(patterns))
        except (re.error, TypeError) as problem:
            error(f"GerritChangeFilter: {name}_re={patterns!r} is no pattern: {problem}")
    if checked_function(function, f"GerritChangeFilter: {name}_fn") is not None:
        found.append(function)
    return found
