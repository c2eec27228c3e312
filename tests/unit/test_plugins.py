"""`from buildbot.plugins import …`, as a master.cfg does."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from buildbot import plugins
from buildbot.plugins import NAMESPACES, Namespace


@pytest.mark.parametrize(("namespace", "name"), [(n, each) for n, space in NAMESPACES.items() for each in dir(space)])
def test_everything_is_there(namespace: str, name: str) -> None:
    """Every name that a namespace has can be imported, and is what it is called; Visual Studio has two names each."""
    value = getattr(NAMESPACES[namespace], name)
    if isinstance(value, type):
        assert value.__name__ == name or value.__module__ == "buildbot.steps.vstudio"


def test_what_configurations_use() -> None:
    """The names that nearly every configuration uses are there."""
    from buildbot.plugins import changes, schedulers, steps, util, worker

    assert {"GitPoller"} <= set(dir(changes))
    assert {"AnyBranchScheduler", "ForceScheduler", "SingleBranchScheduler"} <= set(dir(schedulers))
    assert {"Git", "ShellCommand"} <= set(dir(steps))
    assert {"BuilderConfig", "BuildFactory", "ChangeFilter", "Interpolate", "Property"} <= set(dir(util))
    assert {"Worker"} <= set(dir(worker))


def test_close_names() -> None:
    """A name that does not exist is an error with those that are close."""
    with pytest.raises(AttributeError, match=r"buildbot\.plugins\.steps has no 'ShelCommand'; did you mean ShellComm"):
        _ = plugins.steps.ShelCommand
    with pytest.raises(
        AttributeError, match=r"buildbot\.plugins\.worker has no 'Qwertz'; it has .*LocalWorker, .*Worker"
    ):
        _ = plugins.worker.Qwertz


def test_close_namespaces() -> None:
    """A namespace that does not exist is an error with the one that is close, or with all."""
    with pytest.raises(ImportError, match=r"buildbot\.plugins has no 'schedulerz'; did you mean schedulers\?"):
        exec("from buildbot.plugins import schedulerz")
    with pytest.raises(
        ImportError,
        match=r"has no 'xyz'; there are changes, reporters, schedulers, secrets, steps, util, webhooks, worker",
    ):
        exec("from buildbot.plugins import xyz")


def test_lazy() -> None:
    """A module is imported when a name of it is first used."""
    space = Namespace("x", {"tests.unit.no_such_module": "Thing"})
    assert dir(space) == ["Thing"]
    with pytest.raises(ModuleNotFoundError):
        _ = space.Thing


def test_everything() -> None:
    """``from buildbot.plugins import *`` gives every namespace; a name that one does not have is said shortly."""
    names: dict[str, Any] = {}
    exec("from buildbot.plugins import *", names)
    assert NAMESPACES.keys() <= names.keys()
    with pytest.raises(
        AttributeError, match=r"buildbot\.plugins\.none has no 'x'; this version has none, and no package"
    ):
        _ = Namespace("none", {}).x
    with pytest.raises(AttributeError) as caught:
        _ = names["util"].Qwertz
    assert str(caught.value) == "buildbot.plugins.util has no 'Qwertz'"


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "buildbot.steps.shell",
            "Compile Configure SetPropertyFromCommand ShellCommand Test WarningCountingShellCommand",
        ),
        ("buildbot.steps.shellsequence", "ShellSequence"),
        ("buildbot.steps.cmake", "CMake"),
        ("buildbot.steps.master", "Assert LogRenderable MasterShellCommand SetProperties SetProperty"),
        ("buildbot.steps.transfer", "DirectoryUpload FileDownload FileUpload MultipleFileUpload StringDownload"),
        ("buildbot.steps.worker", "CopyDirectory FileExists MakeDirectory RemoveDirectory SetPropertiesFromEnv"),
        ("buildbot.steps.http", "DELETE GET HEAD HTTPStep OPTIONS POST PUT"),
        ("buildbot.steps.python", "PyFlakes PyLint Sphinx"),
        ("buildbot.steps.python_twisted", "HLint RemovePYCs Trial"),
        ("buildbot.steps.mswin", "Robocopy"),
        ("buildbot.steps.package.rpm.rpmbuild", "RpmBuild"),
        ("buildbot.steps.package.rpm.mock", "Mock MockBuildSRPM MockRebuild"),
        ("buildbot.process.buildstep", "BuildStep"),
    ],
)
def test_import_paths_of_steps(module: str, names: str) -> None:
    """Existing configurations import steps from these modules; they are the same as the plugins."""
    for name in names.split():
        assert getattr(import_module(module), name) is getattr(plugins.steps, name)


def test_import_paths_of_plugins_own_steps() -> None:
    """What existing classes of users inherit and call can be imported where they look for it."""
    from buildbot.interfaces import WorkerSetupError
    from buildbot.process.buildstep import BuildStepFailed, CommandMixin, ShellMixin
    from buildbot.process.log import StreamLog
    from buildbot.process.logobserver import LogLineObserver
    from buildbot.process.remotecommand import RemoteCommand
    from buildbot.process.results import ALL_RESULTS, Results, statusToString, worst_status
    from buildbot.steps.worker import CompositeStepMixin

    assert plugins.util.LogLineObserver is LogLineObserver and plugins.util.Results is Results
    everything: tuple[object, ...] = (
        WorkerSetupError,
        BuildStepFailed,
        CommandMixin,
        ShellMixin,
        StreamLog,
        RemoteCommand,
    )
    assert all((*everything, ALL_RESULTS, statusToString, worst_status, CompositeStepMixin))
