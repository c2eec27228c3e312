"""Paths at which a noun is found, and conditions that say whether an event's message is about a resource there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.visitors import iterate


@dataclass(frozen=True)
class Equals:
    """A field has the value of a path's variable; of a list, any element. ``a.b`` is in an object."""

    field: str
    variable: str


@dataclass(frozen=True)
class Element:
    """A list has an element with the values of these variables, which are called as its fields are."""

    field: str
    variables: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Among:
    """A field has a value that a field (``key``) of other resources has, of those of which a condition is true.

    ``single``: there is at most one such resource, for ever the same. ``found_by`` is where those that there are
    already are found, if the condition is about an aside.
    """

    field: str
    plural: str
    key: str
    condition: Condition
    single: bool = False
    found_by: Path | None = None


@dataclass(frozen=True)
class Known:
    """The resource was at the path when the subscription began, and nothing comes to be there later."""


@dataclass(frozen=True)
class Every:
    """All of these are true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Either:
    """One of these is true."""

    parts: tuple[Condition, ...]


Condition = Equals | Element | Among | Known | Every | Either


@dataclass(frozen=True, eq=False)
class Path:
    """A place where the noun is found: ``builders/n:builderid/builds``.

    A variable that is a field of the noun restricts it; every other one must occur as a bind parameter in ``where``.
    A path whose last part is a variable gives a single resource, every other a collection. ``hears`` says of which
    messages a subscription hears, where that does not follow from the rest (``heard.condition_of``).
    """

    pattern: str
    where: ColumnElement[bool] | None = None
    single: bool | None = None
    hears: Condition | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Its segments, variables with their type prefix."""
        return tuple(self.pattern.split("/"))

    @property
    def is_single(self) -> bool:
        """Whether it gives one resource rather than a list."""
        return ":" in self.parts[-1] if self.single is None else self.single

    @property
    def bound(self) -> set[str]:
        """Names of the bind parameters in its condition."""
        return bind_names(self.where)

    @property
    def variables(self) -> dict[str, str]:
        """Names of its variables with their type: ``n`` number, ``i`` identifier, ``s`` text."""
        found = [part.split(":", 1) for part in self.parts if ":" in part]
        return {name: kind for kind, name in found}


def bind_names(clause: ColumnElement[bool] | None) -> set[str]:
    """The names of the bind parameters in an expression."""
    if clause is None:
        return set()
    return {element.key for element in iterate(clause) if isinstance(element, BindParameter)}


def parts_of(condition: Condition) -> Iterator[Equals | Element | Among | Known]:
    """The conditions that a condition is made of, those about other resources left out."""
    if isinstance(condition, Every | Either):
        for part in condition.parts:
            yield from parts_of(part)
    else:
        yield condition


def variables_in(condition: Condition) -> Iterator[str]:
    """The variables that a condition asks for."""
    for part in parts_of(condition):
        if isinstance(part, Equals):
            yield part.variable
        elif isinstance(part, Element):
            yield from part.variables
        elif isinstance(part, Among):
            yield from variables_in(part.condition)
