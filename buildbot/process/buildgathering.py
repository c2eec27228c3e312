"""The source stamps, changes and properties of a build, gathered before its first step."""

from __future__ import annotations

import ntpath
import posixpath
from collections.abc import Collection, Mapping
from typing import Any

from buildbot.data.virtualbuilders import asked_for
from buildbot.process.buildcontract import RunningBuild
from buildbot.process.sourcestamp import SourceStamp
from buildbot.resources.buildsets import BuildsetDict


class Gathering:
    """Gathers, once, the source stamps, changes and properties of a build.

    Attributes:
        of_buildset: the properties of the build's buildset; empty before they are gathered.
    """

    def __init__(self, build: RunningBuild) -> None:
        self._build = build
        self._begun = False
        self.of_buildset: Mapping[str, list[Any]] = {}

    async def gather(self) -> None:
        """Gather source stamps, changes and properties. Later sources win over earlier ones, defaults never do."""
        if self._begun:
            return
        self._begun = True
        build, properties = self._build, self._build.properties
        get = build.master.data.get
        bsid = build.request["buildsetid"]
        buildset: BuildsetDict = await get({}, ("buildsets", bsid))
        build.reason = buildset["reason"]
        build.sourcestamps = [SourceStamp(stamp) for stamp in buildset["sourcestamps"]]
        for stamp in build.sourcestamps:
            build.changes += await get({}, ("sourcestamps", stamp["ssid"], "changes"))
        for change in build.changes:
            for name, (value, source) in change["properties"].items():
                properties.setProperty(name, value, source)
        self.of_buildset = await get({}, ("buildsets", bsid, "properties"))
        for name, (value, source) in self.of_buildset.items():
            properties.setProperty(name, value, source)
        self._check_builder()
        self._set_facts()
        set_directories(build)
        await self._set_configured()

    def _check_builder(self) -> None:
        """Raise ValueError if the build was to be a virtual builder's, and cannot be."""
        build = self._build
        asked = asked_for(self.of_buildset)
        shown_under_own = build.builderid == build.request["builderid"]
        if asked is not None and asked.name != build.builder.name and build.number and shown_under_own:
            raise ValueError(
                f"the property virtual_builder_name: {asked.name!r} is a builder of the configuration, no virtual one"
            )

    def _set_facts(self) -> None:
        """Set the properties of the code, the builder, the worker and the owners."""
        build, properties = self._build, self._build.properties
        if len(build.sourcestamps) == 1:
            for name in ("branch", "revision", "repository", "project", "codebase"):
                properties.setProperty(name, build.sourcestamps[0][name], "Build")
        properties.setProperty("buildername", build.builder.name, "Builder")
        properties.setProperty("builderid", build.builder.builderid, "Builder")
        if build.number:
            properties.setProperty("buildnumber", build.number, "Build")
        properties.setProperty("workername", build.workername, "Worker")
        owners = [*build.blamelist(), properties.getProperty("owner")]
        if any(owners):
            properties.setProperty("owners", sorted({owner for owner in owners if owner}), "Build")

    async def _set_configured(self) -> None:
        """Set the configured properties: of the builder and the worker, and defaults for names not set yet."""
        build, properties = self._build, self._build.properties
        for source, values in (
            ("Builder", build.config.properties),
            ("Worker", build.worker.config.properties),
        ):
            properties.update(await build.render(dict(values)), source)
        for source, values in (
            (build.builder.defaults.source, build.builder.defaults.properties),
            ("Builder", build.config.defaultProperties),
            ("Worker", build.worker.config.defaultProperties),
        ):
            missing = {name: value for name, value in values.items() if name not in properties}
            properties.update(await build.render(missing), source)


def set_directories(build: RunningBuild, leave: Collection[str] = ()) -> None:
    """Set properties with the directories of the worker and of the builder in it, if they are known.

    Args:
        build: the build.
        leave: names of properties that are not set.
    """
    info = build.connection.info
    basedir: object = info.get("basedir")
    if isinstance(basedir, str):
        join = ntpath.join if info.get("system") == "nt" else posixpath.join
        values = {"basedir": basedir}
        directory = build.worker.builds.get(build.builder.name)
        if directory is not None:
            values["builddir"] = join(basedir, directory)
        for name in values.keys() - set(leave):
            build.properties.setProperty(name, values[name], "Worker")
