"""A step that makes RPM packages with rpmbuild."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.steps.findings import Findings
from buildbot.steps.program import ProgramStep
from buildbot.util.results import FAILURE, SUCCESS

_DIRECTORIES = ("topdir", "builddir", "rpmdir", "sourcedir", "specdir", "srcrpmdir")


def _directory(name: str) -> Any:
    return argument("`pwd`", checks.name, rendered=True, doc=f"the value of the macro `_{name}`, in the worker's shell")


class RpmBuild(ProgramStep):
    """Make packages from a spec file with ``rpmbuild``."""

    positional: ClassVar[tuple[str, ...]] = (
        "specfile",
        "topdir",
        "builddir",
        "rpmdir",
        "sourcedir",
        "specdir",
        "srcrpmdir",
        "dist",
        "define",
        "autoRelease",
        "vcsRevision",
    )

    name = "rpmbuilder"
    haltOnFailure = True
    specfile = argument(REQUIRED, checks.name, rendered=True, doc="the spec file")
    topdir, builddir, rpmdir = map(_directory, ("topdir", "builddir", "rpmdir"))
    sourcedir, specdir, srcrpmdir = map(_directory, ("sourcedir", "specdir", "srcrpmdir"))
    rpmbuild = argument("rpmbuild", checks.name, rendered=True, doc="the program")
    dist = argument(".el6", checks.text, rendered=True, doc="the value of the macro `dist`")
    define: Mapping[str, Any] = argument(
        MappingProxyType({}), checks.mapping, rendered=True, doc="further macros, `{name: value}`"
    )
    autoRelease = argument(
        False, checks.flag, rendered=True, doc="define `_release` as a number that rises with each build of the file"
    )
    vcsRevision = argument(
        False, checks.flag, rendered=True, doc="define `_revision` as the property `got_revision`, if there is one"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__found = _RpmOutput()
        self.addLogObserver("stdio", self.__found)

    async def run(self) -> int:
        """Run ``rpmbuild``."""
        words = [self.rpmbuild]
        words += [f'--define "_{name} {getattr(self, name)}"' for name in _DIRECTORIES]
        words += [_define(name, str(value)) for name, value in self.define.items()]
        if self.autoRelease:
            words.append(_define("_release", str(await self.__next_release())))
        revision = self.getProperty("got_revision")
        if self.vcsRevision and revision:
            words.append(_define("_revision", str(revision)))
        if self.dist:
            words.append(_define("dist", self.dist))
        self.command = " ".join([*words, "-ba", shlex.quote(self.specfile)])
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        await self.addCompleteLog("RPM Command Log", self.__found.text(["log"]))
        if self.__found.counts.get("errors"):
            await self.addCompleteLog("RPM Errors", self.__found.text(["errors"]))
        return SUCCESS if ran.results() == SUCCESS else FAILURE

    async def __next_release(self) -> int:
        """The number of this build of the spec file by this builder, from 0."""
        state = self.master.db.state
        objectid = await state.getObjectId(f"{self.build.builder.name} {self.specfile}"[:128], "RpmBuild")
        release: int = await state.getState(objectid, "release", 0)
        await state.setState(objectid, "release", release + 1)
        return release


def _define(name: str, value: str) -> str:
    return f"--define {shlex.quote(f'{name} {value}')}"


class _RpmOutput(Findings):
    def outLineReceived(self, line: str) -> None:
        if re.match(r"(?:Processing|Wrote)\b", line):
            self.add("log", line)
        elif re.match(r"\s*(?:error|RPM build errors)\b", line, re.I):
            self.add("errors", line)
