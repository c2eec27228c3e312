"""The public path of the classes for steps; the code is in `step`, `shellmixin` and `commandmixin`."""

from zope.interface import classImplements

from buildbot.interfaces import IBuildStep
from buildbot.process.commandmixin import CommandMixin
from buildbot.process.shellmixin import ShellMixin
from buildbot.process.step import MAX_NAME, BuildStep, BuildStepCancelled, BuildStepFailed, StepBuild, StepFactory

__all__ = [
    "MAX_NAME",
    "BuildStep",
    "BuildStepCancelled",
    "BuildStepFailed",
    "CommandMixin",
    "ShellMixin",
    "StepBuild",
    "StepFactory",
]

classImplements(BuildStep, IBuildStep)
