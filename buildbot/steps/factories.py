"""Factories for projects of the usual kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildbot.process.factory import BuildFactory
from buildbot.steps.python_twisted import Trial as TrialStep
from buildbot.steps.shell import Compile, Configure, PerlModuleTest, ShellCommand, Test
from buildbot.steps.source.cvs import CVS
from buildbot.steps.source.svn import SVN

Command = str | Sequence[Any]


class GNUAutoconf(BuildFactory):
    """Builds and tests a project that uses GNU autoconf.

    Args:
        source: the step that gets the sources.
        configure: the program; None leaves the step out.
        configureEnv: environment variables of all steps but the first.
        configureFlags: arguments of ``configure``.
        reconf: a command that runs first, to make ``configure``; True for ``autoreconf -si``.
        compile, test, distcheck: the commands; None leaves the step out.
    """

    def __init__(
        self,
        source: Any,
        configure: str | None = "./configure",
        configureEnv: Mapping[str, Any] | None = None,
        configureFlags: Sequence[Any] | None = None,
        reconf: bool | Command | None = None,
        compile: Command | None = ("make", "all"),
        test: Command | None = ("make", "check"),
        distcheck: Command | None = ("make", "distcheck"),
    ) -> None:
        super().__init__([source])
        env = dict(configureEnv or {})
        if reconf:
            command = ["autoreconf", "-si"] if reconf is True else reconf
            self.addStep(ShellCommand(name="autoreconf", command=command, env=env))
        if configure is not None:
            self.addStep(Configure(command=[configure, *(configureFlags or ())], env=env))
        for kind, what in ((Compile, compile), (Test, test), (Test, distcheck)):
            if what is not None:
                self.addStep(kind(command=what, env=env))


class _Make(GNUAutoconf):
    """A `GNUAutoconf` that has no `Configure` step by default."""

    def __init__(
        self,
        source: Any,
        configure: str | None,
        configureEnv: Mapping[str, Any] | None,
        compile: Command | None,
        test: Command | None,
    ) -> None:
        super().__init__(source, configure, configureEnv, compile=compile, test=test)


class BasicBuildFactory(_Make):
    """Builds and tests a module of CVS, checked out anew each time.

    Args:
        cvsroot: the repository.
        cvsmodule: the module in it.
        configure, configureEnv, compile, test: as for `GNUAutoconf`; ``make distcheck`` runs too.
        cvsCopy: keep a tree that is brought up to date, and build a copy of it.
    """

    def __init__(
        self,
        cvsroot: str,
        cvsmodule: str,
        configure: str | None = None,
        configureEnv: Mapping[str, Any] | None = None,
        compile: Command | None = "make all",
        test: Command | None = "make check",
        cvsCopy: bool = False,
    ) -> None:
        source = CVS(cvsroot=cvsroot, cvsmodule=cvsmodule, mode="full", method="copy" if cvsCopy else "clobber")
        super().__init__(source, configure, configureEnv, compile, test)


class QuickBuildFactory(_Make):
    """Builds and tests a module of CVS in a tree that is brought up to date; arguments as for `BasicBuildFactory`."""

    def __init__(
        self,
        cvsroot: str,
        cvsmodule: str,
        configure: str | None = None,
        configureEnv: Mapping[str, Any] | None = None,
        compile: Command | None = "make all",
        test: Command | None = "make check",
    ) -> None:
        source = CVS(cvsroot=cvsroot, cvsmodule=cvsmodule, mode="incremental")
        super().__init__(source, configure, configureEnv, compile, test)
        self.useProgress = False


class BasicSVN(_Make):
    """Builds and tests a tree of Subversion that is brought up to date.

    Args:
        svnurl: the URL of the tree.
        others: as for `BasicBuildFactory`.
    """

    def __init__(
        self,
        svnurl: str,
        configure: str | None = None,
        configureEnv: Mapping[str, Any] | None = None,
        compile: Command | None = "make all",
        test: Command | None = "make check",
    ) -> None:
        super().__init__(SVN(repourl=svnurl, mode="incremental"), configure, configureEnv, compile, test)


class CPAN(BuildFactory):
    """Builds and tests a Perl module.

    Args:
        source: the step that gets the sources.
        perl: the program.
    """

    def __init__(self, source: Any, perl: str = "perl") -> None:
        steps = [Configure(command=[perl, "Makefile.PL"]), Compile(command=["make"])]
        super().__init__([source, *steps, PerlModuleTest(command=["make", "test"])])


class Distutils(BuildFactory):
    """Builds and tests a Python project by its ``setup.py``.

    Args:
        source: the step that gets the sources.
        python: the program.
        test: the test command; None leaves the step out.
    """

    def __init__(self, source: Any, python: str = "python", test: Command | None = None) -> None:
        super().__init__([source, Compile(command=[python, "./setup.py", "build"])])
        if test is not None:
            self.addStep(Test(command=test))


class Trial(BuildFactory):
    """Builds a Python project by its ``setup.py`` and tests it with trial.

    Args:
        source: the step that gets the sources.
        buildpython: the program that builds, and its arguments.
        useTestCaseNames: run the tests that the changed files name, not ``tests``.
        others: arguments of `buildbot.steps.python_twisted.Trial`.
    """

    def __init__(
        self,
        source: Any,
        buildpython: Sequence[str] | None = None,
        trialpython: Sequence[str] | None = None,
        trial: str | None = None,
        testpath: str | None = ".",
        randomly: bool | None = None,
        recurse: bool | None = None,
        tests: Any = None,
        useTestCaseNames: bool = False,
        env: Mapping[str, Any] | None = None,
    ) -> None:
        env = dict(env or {})
        super().__init__([source, Compile(command=[*(buildpython or ["python"]), "./setup.py", "build"], env=env)])
        given = {"python": trialpython, "trial": trial, "randomly": randomly, "recurse": recurse}
        which = {"testChanges": True} if useTestCaseNames else {"tests": tests}
        said = {name: value for name, value in given.items() if value is not None}
        self.addStep(TrialStep(testpath=testpath, env=env, **which, **said))
