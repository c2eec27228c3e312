"""Steps that set properties without asking the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildbot.config.errors import error
from buildbot.process.rendering import is_renderable
from buildbot.process.step import BuildStep
from buildbot.util.results import SUCCESS


class SetProperty(BuildStep):
    """Set a property.

    Args:
        property: its name.
        value: its value; may be or hold renderables.
    """

    name = "SetProperty"
    description = "setting a property"
    descriptionDone = "set"
    renderables = ("property", "value")

    def __init__(self, property: Any = None, value: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if property is None:
            error("SetProperty needs the name of a property")
        self.property, self.value = property, value

    async def run(self) -> int:
        """Set it."""
        self.setProperty(self.property, self.value, self.name)
        return SUCCESS


class SetProperties(BuildStep):
    """Set several properties.

    Args:
        properties: ``{name: value}``, or a renderable that gives it.
    """

    name = "SetProperties"
    description = "setting properties"
    descriptionDone = "set"
    renderables = ("properties",)

    def __init__(self, properties: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(properties, Mapping) and not is_renderable(properties):
            error(f"SetProperties needs a dictionary or a renderable that gives one, not {properties!r}")
        self.properties = properties

    async def run(self) -> int:
        """Set them."""
        for name, value in self.properties.items():
            self.setProperty(name, value, self.name)
        return SUCCESS
