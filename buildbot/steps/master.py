"""Steps that set properties without asking the worker."""

from __future__ import annotations

from typing import ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.step import BuildStep
from buildbot.util.results import SUCCESS


class SetProperty(BuildStep):
    """Set a property."""

    positional: ClassVar[tuple[str, ...]] = ("property", "value")
    name = "SetProperty"
    description = "setting a property"
    descriptionDone = "set"
    property = argument(REQUIRED, checks.text, rendered=True, doc="its name")
    value = argument(None, rendered=True, doc="its value")

    async def run(self) -> int:
        """Set it."""
        self.setProperty(self.property, self.value, self.name)
        return SUCCESS


class SetProperties(BuildStep):
    """Set several properties."""

    positional: ClassVar[tuple[str, ...]] = ("properties",)
    name = "SetProperties"
    description = "setting properties"
    descriptionDone = "set"
    properties = argument(REQUIRED, checks.mapping, rendered=True, doc="`{name: value}`, or a renderable that gives it")

    async def run(self) -> int:
        """Set them."""
        for name, value in self.properties.items():
            self.setProperty(name, value, self.name)
        return SUCCESS
