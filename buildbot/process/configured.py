"""The base class of objects of master.cfg, which are equal if they were made with the same arguments."""

from __future__ import annotations

from typing import Any, Self

from buildbot.config.errors import error
from buildbot.process.rendering import same_description


class Configured:
    """Equal to another of the same class that was made with equal arguments.

    When master.cfg is read again every object in it is new. An object that equals the running one is left running. A
    class, function or lambda in master.cfg is a new one each time, so an object that holds one counts as changed and is
    restarted; a restart loses nothing.
    """

    __arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember the arguments."""
        self = super().__new__(cls)
        self.__arguments = (args, kwargs)
        return self

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and isinstance(other, Configured)
            and same_description(self.__arguments, other.__arguments)
        )

    def __hash__(self) -> int:
        return hash(type(self))


def checked_function(value: Any, what: str) -> Any:
    """``value``, which must be a function or None; another value is reported and becomes None."""
    if value is None or callable(value):
        return value
    error(f"{what} must be a function, not {value!r}")
    return None


def checked_name(value: object, what: str) -> str:
    """``value``, which must be a text that is not empty; another value is reported and becomes such a text."""
    if isinstance(value, str) and value:
        return value
    error(f"{what}: the name must be a text that is not empty, not {value!r}")
    return str(value)
