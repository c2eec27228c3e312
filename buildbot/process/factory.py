"""Factories: the steps of a builder's builds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from buildbot.config.errors import error
from buildbot.process.build import Build
from buildbot.process.secretfiles import RemoveSecretFiles, WriteSecretFiles
from buildbot.process.step import BuildStep, StepFactory


class BuildFactory:
    """A list of steps; every build makes its own steps from it.

    Args:
        steps: the first steps, in order.

    Attributes:
        workdir: the directory on the worker of steps without a directory of their own, relative to the builder's. Users
            may set another: a text, a renderable, or a function of the list of source stamps, called for each step.
    """

    workdir: Any = "build"
    #: the class of the builds; a subclass of `Build` that is made with the same arguments
    buildClass: type[Build] = Build
    #: an attribute of older versions without effect: the expected time always comes from earlier builds
    useProgress: Any = True
    #: see `setSkipBuildIf`
    skip_build_if: Callable[[Build], Any] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "newBuild" in vars(cls):
            error(
                f"{cls.__name__}.newBuild would not be called: override the build itself, with a class derived from "
                "buildbot.process.build.Build as buildClass of the factory"
            )

    def __init__(self, steps: Iterable[Any] | None = None) -> None:
        self.steps: list[StepFactory[BuildStep]] = []
        #: by the names of the steps, for the check of the configuration
        self.locks_of_steps: list[tuple[Any, Any]] = []
        self.addSteps(steps or [])

    def addStep(self, step: object) -> None:
        """Add a step: an instance, from which each build makes another one."""
        if isinstance(step, BuildStep):
            step.check_arguments()
            self.locks_of_steps.append((step.name, step.locks))
            step = step.get_step_factory()
        if not isinstance(step, StepFactory):
            error(f"a step must be an instance such as steps.ShellCommand(command=[…]), not {step!r}")
            return
        self.steps.append(step)

    def addSteps(self, steps: Iterable[Any], withSecrets: Iterable[Any] | None = None) -> None:
        """Add steps in their order.

        Args:
            steps: the steps.
            withSecrets: ``(path, value)`` of files on the worker that hold secrets while the steps run. A path is
                relative to the build's directory, absolute, or begins with ``~/``.
        """
        with self.withSecrets(withSecrets or ()):
            for step in steps:
                self.addStep(step)

    @contextmanager
    def withSecrets(self, secrets: Iterable[Any]) -> Iterator[BuildFactory]:
        """The steps that are added in the block run with files of secrets; see `addSteps`.

        A step before them writes the files, and a step after them removes these, even if the build was halted or
        stopped.
        """
        files = list(secrets)
        if files:
            self.addStep(WriteSecretFiles(secret_files=files))
        yield self
        if files:
            # only the paths are kept: removing needs no values
            self.addStep(RemoveSecretFiles(secret_files=[(path, "") for path, _ in _pairs(files)]))

    def setSkipBuildIf(self, predicate: object) -> None:
        """Let builds end as SKIPPED, without steps, of which a function says so; the opposite of ``do_build_if``.

        Args:
            predicate: called with the build, whose properties are known; may return a Deferred or be a coroutine.
        """
        if not callable(predicate):
            error(f"setSkipBuildIf must be given a function of a build, not {predicate!r}")
            return
        self.skip_build_if = predicate

    def make_steps(self) -> list[BuildStep]:
        """Fresh steps for one build."""
        return [step.build() for step in self.steps]


def _pairs(files: list[Any]) -> list[tuple[Any, Any]]:
    """The elements that are pairs; the step that writes them has reported the others."""
    return [tuple(each) for each in files if isinstance(each, tuple | list) and len(each) == 2]


#: factories of common kinds of projects; they use steps, which the engine must not import
_FACTORIES = ("BasicBuildFactory", "BasicSVN", "CPAN", "Distutils", "GNUAutoconf", "QuickBuildFactory", "Trial")


def __getattr__(name: str) -> Any:
    # Configurations import the factories of common kinds of projects from here.
    if name in _FACTORIES:
        return getattr(import_module("buildbot.steps.factories"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
