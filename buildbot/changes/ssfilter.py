"""SourceStampFilter: which source stamps something is about."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from buildbot.changes.filter import CRITERIA, Criterion
from buildbot.config.checks import suggestion
from buildbot.config.errors import error
from buildbot.process.configured import Configured, checked_function

ATTRIBUTES = ("project", "repository", "branch", "codebase")
_SUFFIXES = ("_eq", "_not_eq", "_re", "_not_re")
_KNOWN = tuple(f"{attribute}{suffix}" for attribute in ATTRIBUTES for suffix in _SUFFIXES)


class SourceStampFilter(Configured):
    """Passes the source stamps that meet every criterion given; without any, all.

    Args:
        filter_fn: function of the source stamp, a dictionary as the Data API gives it; true to let it pass.
        **criteria: ``project``, ``repository``, ``branch`` or ``codebase`` followed by ``_eq``, ``_not_eq`` (a value or
            a list), ``_re`` or ``_not_re`` (a pattern or a list; they must match from the beginning).
    """

    def __init__(self, filter_fn: Callable[[Mapping[str, Any]], bool] | None = None, **criteria: Any) -> None:
        self.filter_fn = checked_function(filter_fn, "SourceStampFilter: filter_fn")
        self.checks: list[tuple[str, Criterion]] = []
        for name, value in criteria.items():
            if name not in _KNOWN:
                error(f"SourceStampFilter: unknown argument {name!r}{suggestion(name, ('filter_fn', *_KNOWN))}")
                continue
            attribute, _, _ = name.partition("_")
            try:
                self.checks.append((attribute, CRITERIA[name.removeprefix(attribute)](value)))
            except (re.error, TypeError) as problem:
                error(f"SourceStampFilter: {name}={value!r} is no pattern: {problem}")
        self.__shown = ", ".join(f"{name}={value!r}" for name, value in criteria.items())

    def __repr__(self) -> str:
        return f"<SourceStampFilter {self.__shown or 'any'}>"

    def is_matched(self, ss: Mapping[str, Any]) -> bool:
        """Whether a source stamp passes."""
        if self.filter_fn is not None and not self.filter_fn(ss):
            return False
        return all(check(ss[attribute]) for attribute, check in self.checks)
