"""Values of the web server's configuration that become known while the master runs, such as secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from buildbot.interfaces import is_renderable

T = TypeVar("T")


@runtime_checkable
class Renders(Protocol):
    """A master that renders values without a build, as a whole master does, and a state layer alone does not."""

    async def rendered(self, value: Any, properties: Mapping[str, Any] | None = None) -> Any:
        """``value`` with the renderables in it replaced."""


def renderer_of(master: object) -> Renders:
    """The master as one that renders values; TypeError if it does not."""
    if not isinstance(master, Renders):
        raise TypeError(f"{master!r} has no rendered()")
    return master


async def rendered(master: object, value: T) -> T:
    """A value; a renderable gives its value without a build."""
    if not is_renderable(value):
        return value
    known: T = await renderer_of(master).rendered(value)
    return known
