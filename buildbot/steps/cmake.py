"""Configure with CMake."""

from __future__ import annotations

from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.steps.program import ProgramStep


class CMake(ProgramStep):
    """Run ``cmake`` with definitions and options; a failure ends the build."""

    name = "cmake"
    description = ["running", "cmake"]
    descriptionDone = ["cmake"]
    haltOnFailure = True
    path = argument(None, checks.optional(checks.text), rendered=True, doc="the directory of the sources")
    generator = argument(None, checks.optional(checks.text), rendered=True, doc="what to generate, such as `Ninja`")
    definitions = argument(
        None, checks.optional(checks.mapping), rendered=True, doc="`{name: value}`, given as `-Dname=value`"
    )
    options = argument(None, checks.optional(checks.list_of(checks.text)), rendered=True, doc="further arguments")
    cmake = argument("cmake", checks.name, rendered=True, doc="the program")

    def __init__(
        self,
        path: Any = None,
        generator: Any = None,
        definitions: Any = None,
        options: Any = None,
        cmake: Any = "cmake",
        **kwargs: Any,
    ) -> None:
        own = {"path": path, "generator": generator, "definitions": definitions, "options": options, "cmake": cmake}
        given = {name: value for name, value in own.items() if value is not None}
        super().__init__(**given, **kwargs)

    async def run(self) -> int:
        """Run ``cmake``."""
        command = [self.cmake]
        if self.generator:
            command += ["-G", self.generator]
        command += [f"-D{name}={value}" for name, value in (self.definitions or {}).items()]
        command += self.options or []
        if self.path:
            command.append(self.path)
        self.command = command
        return (await self.runCommand(await self.makeRemoteShellCommand())).results()
