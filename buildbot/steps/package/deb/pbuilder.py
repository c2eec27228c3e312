"""Steps that make Debian packages in a clean system with pbuilder or cowbuilder."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.process.logobserver import LogLineObserver
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.step import BuildStepFailed
from buildbot.steps.shell import WarningCountingShellCommand

#: age in seconds at which the base system is brought up to date
MAX_AGE_S = 24 * 60 * 60


class DebPbuilder(WarningCountingShellCommand):
    """Make a package in a base system; the step creates it if it does not exist, and updates it once a day."""

    positional: ClassVar[tuple[str, ...]] = (
        "architecture",
        "distribution",
        "basetgz",
        "mirror",
        "othermirror",
        "extrapackages",
        "keyring",
        "components",
    )

    name = "pbuilder"
    haltOnFailure = True
    pbuilder: ClassVar[str] = "/usr/sbin/pbuilder"
    baseOption: ClassVar[str] = "--basetgz"
    base_suffix: ClassVar[str] = ".tgz"
    command: Any = ()
    architecture = argument(
        None, checks.optional(checks.text), rendered=True, doc="the architecture to build for; None: that of the worker"
    )
    distribution = argument("stable", checks.name, rendered=True, doc="the distribution")
    basetgz = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="the path of the base system; None: a path by distribution and architecture below `/var/cache/pbuilder`",
    )
    mirror = argument(
        "http://cdn.debian.net/debian/", checks.text, rendered=True, doc="the mirror that packages are installed from"
    )
    othermirror = argument((), checks.list_of(checks.text), rendered=True, doc="further lines of sources.list")
    extrapackages = argument((), checks.list_of(checks.text), rendered=True, doc="further packages to install")
    keyring = argument(None, checks.optional(checks.text), rendered=True, doc="the keys that packages are signed with")
    components = argument(None, checks.optional(checks.text), rendered=True, doc="the components of the distribution")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = self.by_name(args, kwargs)
        super().__init__(**kwargs)
        self.__changes = _Changes()
        self.addLogObserver("stdio", self.__changes)

    async def run(self) -> int:
        """Create or update the base system, then make the package."""
        base = self.basetgz or (
            f"/var/cache/pbuilder/{self.distribution}-{self.architecture or 'local'}-buildbot{self.base_suffix}"
        )
        await self.__prepare(base)
        architecture = ["--architecture", self.architecture] if self.architecture else []
        extra = ["--extrapackages", " ".join(self.extrapackages)] if self.extrapackages else []
        self.command = [
            "pdebuild", "--buildresult", ".", "--pbuilder", self.pbuilder, *architecture, "--", "--buildresult", ".",
            self.baseOption, base, *extra,
        ]  # fmt: skip
        results = await super().run()
        if self.__changes.path is not None:
            self.setProperty("deb-changes", self.__changes.path, self.name)
        return results

    async def __prepare(self, base: str) -> None:
        found = await self.runCommand(RemoteCommand("stat", {"file": base}, stdioLogName=None))
        sudo = ["sudo", self.pbuilder]
        if found.didFail():
            command = [*sudo, "--create", self.baseOption, base, "--distribution", self.distribution]
            command += ["--mirror", self.mirror]
            command += ["--othermirror", "|".join(self.othermirror)] if self.othermirror else []
            command += ["--architecture", self.architecture] if self.architecture else []
            command += ["--extrapackages", " ".join(self.extrapackages)] if self.extrapackages else []
            command += ["--debootstrapopts", f"--keyring={self.keyring}"] if self.keyring else []
            command += ["--components", self.components] if self.components else []
        elif _mtime(found) < self.master.wall_seconds() - MAX_AGE_S:
            command = [*sudo, "--update", self.baseOption, base]
        else:
            return
        ran = await self.runCommand(await self.makeRemoteShellCommand(command=command, stdioLogName="pbuilder"))
        if ran.didFail():
            raise BuildStepFailed(f"pbuilder {command[2].lstrip('-')} failed")


def _mtime(command: RemoteCommand) -> float:
    """The modification time of a file, in Unix seconds, from a stat command; 0 if it has none."""
    found = command.updates.get("stat", [()])[-1]
    known = isinstance(found, (list, tuple)) and len(found) > 8 and isinstance(found[8], (int, float))
    return float(found[8]) if known else 0.0


class _Changes(LogLineObserver):
    """Finds the name of the .changes file in the output."""

    path: str | None = None

    def outLineReceived(self, line: str) -> None:
        found = re.search(r"(?:^|\s)(?:>|dpkg-genchanges.*>\s*)\s*(?:\S*/)?([\w.+~:-]+\.changes)\s*$", line[-1000:])
        if found is not None:
            self.path = found[1]

    errLineReceived = outLineReceived


class DebCowbuilder(DebPbuilder):
    """Make a package with ``cowbuilder``, whose base system is a directory."""

    name = "cowbuilder"
    pbuilder = "/usr/sbin/cowbuilder"
    baseOption = "--basepath"
    base_suffix = ".cow/"


class UbuPbuilder(DebPbuilder):
    """Make a package for Ubuntu with ``pbuilder``."""

    mirror = "http://archive.ubuntu.com/ubuntu/"
    components = "main universe"


class UbuCowbuilder(DebCowbuilder):
    """Make a package for Ubuntu with ``cowbuilder``."""

    mirror = "http://archive.ubuntu.com/ubuntu/"
    components = "main universe"
