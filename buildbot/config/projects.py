"""Projects and codebases of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from buildbot.config import checks, errors
from buildbot.util.checks import path_name


@dataclass(frozen=True, init=False, eq=False)
class Project:
    """A project, to which builders (``BuilderConfig(project=…)``) and codebases belong.

    Attributes:
        name: an identifier of at most 70 letters, digits, ``.``, ``_`` and ``-``; unique in the configuration.
        slug: a short name for pages, of the same kind; the name by default.
        description: a text for the page; ``description_format`` is None (plain) or ``markdown``.
        location: the line of the configuration that made it, None outside a configuration.
    """

    name: str
    slug: str
    description: str | None
    description_format: str | None
    location: str | None = field(repr=False)

    def __init__(
        self,
        name: str,
        slug: str | None = None,
        description: str | None = None,
        description_format: str | None = None,
    ) -> None:
        shown = f"project {name!r}"
        markdown = checks.one_of("markdown")
        checked_name = _identifier(shown, "name", name)
        values = {
            "name": checked_name,
            "slug": checked_name if slug is None else _identifier(shown, "slug", slug),
            "description": _checked(shown, "description", description, checks.text),
            "description_format": _checked(shown, "description_format", description_format, markdown),
            "location": errors.location(),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)


@dataclass(frozen=True, init=False, eq=False)
class Codebase:
    """A codebase of a project.

    Attributes:
        name: an identifier as a project's; unique in its project.
        project: name of the project.
        slug: a short name for pages; the name by default.
        location: the line of the configuration that made it, None outside a configuration.
    """

    name: str
    project: str
    slug: str
    location: str | None = field(repr=False)

    def __init__(self, name: str, project: str, slug: str | None = None) -> None:
        shown = f"codebase {name!r}"
        checked_name = _identifier(shown, "name", name)
        values = {
            "name": checked_name,
            "project": _identifier(shown, "project", project),
            "slug": checked_name if slug is None else _identifier(shown, "slug", slug),
            "location": errors.location(),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)


def _identifier(shown: str, argument: str, value: Any) -> str:
    try:
        return path_name(value, f"{shown}: {argument}")
    except (TypeError, ValueError) as reason:
        errors.error(str(reason))
        return "_"


def _checked(shown: str, argument: str, value: Any, check: checks.Check) -> Any:
    if value is None:
        return None
    try:
        return check(value)
    except ValueError as reason:
        errors.error(f"{shown}: {argument} {reason}")
        return None
