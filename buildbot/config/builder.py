"""One builder of the configuration."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import FrozenInstanceError, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from buildbot.config import checks, errors
from buildbot.config.locks import lock_list

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")

#: arguments of older versions, and the present names
_OLD_ARGUMENTS = {
    "slavename": "workername",
    "slavenames": "workernames",
    "slavebuilddir": "workerbuilddir",
    "nextSlave": "nextWorker",
    "category": "tags",
    "mergeRequests": "collapseRequests",
}


def directory_name(name: str) -> str:
    """A builder's name as the name of a directory that every file system takes."""
    return _UNSAFE.sub("_", name).strip(".") or "_"


class FactoryLike(Protocol):
    """A factory; `buildbot.process.factory.BuildFactory` is the class."""

    workdir: object
    buildClass: Callable[..., Any]
    skip_build_if: Callable[..., Any] | None

    def addStep(self, step: Any) -> None:
        """Add a step."""

    def addSteps(self, steps: Iterable[Any], withSecrets: Iterable[Any] | None = None) -> None:
        """Add steps in their order."""

    def setSkipBuildIf(self, predicate: Any) -> None:
        """Let builds end as SKIPPED of which a function says so."""

    def make_steps(self) -> list[Any]:
        """Fresh steps for one build."""


@dataclass(init=False, eq=False)
class BuilderConfig:
    """A builder: what is done (``factory``), and by which workers.

    Every mistake in the arguments is reported through `config.errors.error`, so while a master.cfg is
    loaded all of them are shown at once. A configuration may assign to the fields, and change the lists and
    dictionaries in them, until it has been loaded; they are checked then, as the arguments were, and stay.

    Attributes:
        name: unique in the configuration, not beginning with ``_``.
        workernames: the workers that may run it, at least one.
        factory: the ``util.BuildFactory`` with its steps.
        builddir: name of the builder's directory on the master, by default made from the name.
        workerbuilddir: name of its directory on the workers, by default ``builddir``.
        tags: the groups of builders on the page.
        description: a text for the page; ``description_format`` is None (plain) or ``markdown``.
        project: name of the project that it belongs to, one of ``c["projects"]``.
        env: environment variables of every command.
        properties: properties of every build; ``defaultProperties`` those that a request may override.
        locks: the locks that a whole build holds: a list of ``lock.access(…)``, or a renderable that gives one from the
            properties that are known before the build begins.
        nextWorker: ``f(builder, workers, buildrequest)`` chooses the worker.
        nextBuild: ``f(builder, requests)`` chooses the request.
        canStartBuild: ``f(builder, worker, buildrequest)``: whether this worker may build the request now.
        do_build_if: ``f(build)``: whether a build runs; otherwise it ends as SKIPPED, without steps.
        collapseRequests: True, False, a function, or None for the installation's ``c['collapseRequests']``.
        location: the line of the configuration that made it (``master.cfg:12``), None outside a configuration.
    """

    name: str
    workernames: Sequence[str]
    factory: FactoryLike
    builddir: str
    workerbuilddir: str
    tags: Sequence[str]
    description: str | None
    description_format: str | None
    project: str | None
    env: Mapping[str, Any]
    properties: Mapping[str, Any]
    defaultProperties: Mapping[str, Any]
    locks: Any
    nextWorker: Callable[..., Any] | None
    nextBuild: Callable[..., Any] | None
    canStartBuild: Callable[..., Any] | None
    do_build_if: Callable[..., Any] | None
    collapseRequests: bool | Callable[..., Any] | None
    location: str | None = field(repr=False)
    __complete: ClassVar[bool] = False

    def __init__(
        self,
        name: str | None = None,
        workername: str | None = None,
        workernames: str | Sequence[str] | None = None,
        builddir: str | None = None,
        workerbuilddir: str | None = None,
        factory: Any = None,
        tags: Sequence[str] | None = None,
        nextWorker: Callable[..., Any] | None = None,
        nextBuild: Callable[..., Any] | None = None,
        locks: Any = None,
        env: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        collapseRequests: Any = None,
        description: str | None = None,
        canStartBuild: Callable[..., Any] | None = None,
        defaultProperties: Mapping[str, Any] | None = None,
        project: str | None = None,
        description_format: str | None = None,
        do_build_if: Callable[..., Any] | None = None,
        **unknown: Any,
    ) -> None:
        #: the arguments that are fields, which a configuration may assign to
        self.__given: dict[str, Any] = {
            "name": name, "workernames": _several(workernames, workername), "factory": factory, "builddir": builddir,
            "workerbuilddir": workerbuilddir, "tags": tags, "description": description,
            "description_format": description_format, "project": project, "env": env, "properties": properties,
            "defaultProperties": defaultProperties, "locks": locks, "nextWorker": nextWorker, "nextBuild": nextBuild,
            "canStartBuild": canStartBuild, "collapseRequests": collapseRequests, "do_build_if": do_build_if,
        }  # fmt: skip
        valid_name = _check_name(name)
        shown = f"builder {valid_name!r}"

        def checked(argument: str, value: Any, check: checks.Check, default: Any) -> Any:
            if value is None:
                return default
            try:
                return check(value)
            except ValueError as reason:
                errors.error(f"{shown}: {argument} {reason}")
                return default

        for argument in unknown:
            if argument in _OLD_ARGUMENTS:
                errors.error(f"{shown}: {argument} is now called {_OLD_ARGUMENTS[argument]}")
            else:
                known = [name for name in BuilderConfig.__init__.__annotations__ if name != "unknown"]
                errors.error(f"{shown}: unknown argument {argument!r}{checks.suggestion(argument, known)}")
        if factory is None:
            errors.error(f"{shown} has no factory; give it factory=util.BuildFactory([...])")
        elif not hasattr(factory, "addStep"):
            errors.error(f"{shown}: factory must be a util.BuildFactory, not {checks.kind(factory)}")
        else:
            build_class = getattr(factory, "buildClass", None)
            if build_class is not None and not (isinstance(build_class, type) and hasattr(build_class, "stopBuild")):
                errors.error(f"{shown}: factory.buildClass must be a subclass of Build, not {checks.kind(build_class)}")
            workdir = getattr(factory, "workdir", "build")
            if not (isinstance(workdir, str) or callable(workdir) or hasattr(workdir, "getRenderingFor")):
                errors.error(
                    f"{shown}: factory.workdir must be a text, a renderable or a function, not {checks.kind(workdir)}"
                )
        names = _check_workers(shown, workername, workernames)
        if not names and "slavename" not in unknown and "slavenames" not in unknown:
            errors.error(f"{shown} has no workers; name at least one in workernames")

        directory = checked("builddir", builddir, checks.text, directory_name(valid_name))
        text_list = checks.list_of(checks.text)
        collapse = checks.either(checks.boolean, checks.function, otherwise="True, False or a function")
        values: dict[str, Any] = {
            "name": valid_name,
            "workernames": list(names),
            "factory": factory,
            "builddir": directory,
            "workerbuilddir": checked("workerbuilddir", workerbuilddir, checks.text, directory),
            "tags": list(dict.fromkeys(checked("tags", tags, text_list, ()))),
            "description": checked("description", description, checks.text, None),
            "description_format": checked("description_format", description_format, checks.one_of("markdown"), None),
            "project": checked("project", project, checks.text, None),
            "env": dict(checked("env", env, checks.mapping, {})),
            "properties": dict(checked("properties", properties, checks.mapping, {})),
            "defaultProperties": dict(checked("defaultProperties", defaultProperties, checks.mapping, {})),
            "locks": checked("locks", locks, lock_list, []),
            "nextWorker": checked("nextWorker", nextWorker, checks.function, None),
            "nextBuild": checked("nextBuild", nextBuild, checks.function, None),
            "canStartBuild": checked("canStartBuild", canStartBuild, checks.function, None),
            "do_build_if": checked("do_build_if", do_build_if, checks.function, None),
            "collapseRequests": checked("collapseRequests", collapseRequests, collapse, None),
            "location": errors.location(),
        }
        for attribute, value in values.items():
            setattr(self, attribute, value)
        self.__made = {attribute: (value, copy(value)) for attribute, value in values.items()}

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; FrozenInstanceError for a field once the configuration has been loaded."""
        if self.__complete and name in self.__made:
            raise FrozenInstanceError(f"builder {self.name!r}: {name} cannot be changed, the configuration is loaded")
        object.__setattr__(self, name, value)

    def complete(self) -> None:
        """Check the values that were assigned to fields, like arguments; after this the fields no longer change.

        Raises:
            ConfigErrors: a value is wrong, and no configuration is being loaded.
        """
        if self.__complete:
            return
        changed = {
            name: getattr(self, name)
            for name in self.__given
            if getattr(self, name) is not self.__made[name][0] or not _holds_the_same(*self.__made[name])
        }
        if changed:
            location = self.location
            BuilderConfig.__init__(self, **self.__given | changed)
            self.location = location
        for name in self.__given:
            setattr(self, name, _fixed(getattr(self, name)))
        object.__setattr__(self, "_BuilderConfig__complete", True)


def _holds_the_same(value: object, before: object) -> bool:
    """Whether a list or dictionary holds the same objects as its copy; renderables in it cannot be compared."""
    if isinstance(value, list) and isinstance(before, list):
        return len(value) == len(before) and all(map(operator.is_, value, before))
    if isinstance(value, dict) and isinstance(before, dict):
        return value.keys() == before.keys() and all(each is before[key] for key, each in value.items())
    return True


def _fixed(value: Any) -> Any:
    """A list or dictionary that does not change any more."""
    if isinstance(value, list):
        return tuple(value)
    return MappingProxyType(value) if isinstance(value, dict) else value


def _several(workernames: Any, workername: str | None) -> Any:
    """The workers' names from both arguments; a value that is neither a name nor a list is left for the check."""
    if workername is None:
        return workernames
    if workernames is None:
        return [workername]
    listed = [workernames] if isinstance(workernames, str) else workernames
    return [*listed, workername] if isinstance(listed, Sequence) else workernames


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        errors.error(f"a builder's name must be a string that is not empty, not {checks.kind(name)}")
        return "<unnamed>"
    if name.startswith("_"):
        errors.error(f"builder {name!r}: names that begin with '_' are reserved")
    return name


def _check_workers(shown: str, workername: object, workernames: object) -> tuple[str, ...]:
    given: list[object] = []
    if isinstance(workernames, str):
        given = [workernames]
    elif isinstance(workernames, Sequence):
        given = list(workernames)
    elif workernames is not None:
        errors.error(f"{shown}: workernames must be a list of names, not {checks.kind(workernames)}")
    if workername is not None:
        given.append(workername)
    names: list[str] = []
    for each in given:
        if not isinstance(each, str):
            errors.error(f"{shown}: a worker must be given by its name, not {checks.kind(each)}")
            names.append("")
        elif each not in names:
            names.append(each)
    return tuple(names)
