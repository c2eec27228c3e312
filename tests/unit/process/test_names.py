"""The engine's names under the paths that configurations import."""

from __future__ import annotations

from importlib import import_module

import pytest

from buildbot.plugins import schedulers, steps, util

PATHS = [
    "buildbot.buildrequest.BuildRequest",
    "buildbot.config.BuilderConfig",
    "buildbot.config.builder.BuilderConfig",
    "buildbot.interfaces.IBuildStep",
    "buildbot.interfaces.IConfigured",
    "buildbot.interfaces.IProperties",
    "buildbot.interfaces.IRenderable",
    "buildbot.locks.MasterLock",
    "buildbot.locks.WorkerLock",
    "buildbot.process.build.Build",
    "buildbot.process.builder.Builder",
    "buildbot.process.buildrequest.BuildRequest",
    "buildbot.process.factory.BuildFactory",
    "buildbot.process.project.Project",
    "buildbot.process.properties.Interpolate",
    "buildbot.process.properties.Properties",
    "buildbot.process.properties.Property",
    "buildbot.process.properties.Transform",
    "buildbot.process.properties.WithProperties",
    "buildbot.process.properties.renderer",
    "buildbot.process.workerforbuilder.AbstractWorkerForBuilder",
    "buildbot.schedulers.basic.AnyBranchScheduler",
    "buildbot.schedulers.basic.Dependent",
    "buildbot.schedulers.forcesched.BaseParameter",
    "buildbot.schedulers.forcesched.ChoiceStringParameter",
    "buildbot.schedulers.forcesched.CodebaseParameter",
    "buildbot.schedulers.forcesched.FixedParameter",
    "buildbot.schedulers.forcesched.ForceScheduler",
    "buildbot.schedulers.forcesched.StringParameter",
    "buildbot.schedulers.forcesched.ValidationError",
    "buildbot.schedulers.basic.SingleBranchScheduler",
    "buildbot.schedulers.timed.Nightly",
    "buildbot.schedulers.timed.NightlyTriggerable",
    "buildbot.schedulers.triggerable.Triggerable",
    "buildbot.steps.trigger.Trigger",
]


@pytest.mark.parametrize("path", PATHS)
def test_path(path: str) -> None:
    """It imports, and is the same object as the plugin's of that name, where there is one."""
    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name)
    for namespace in (schedulers, steps, util):
        if name in dir(namespace):
            assert getattr(namespace, name) is found
