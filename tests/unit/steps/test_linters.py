"""Steps that read the output of linters and of test programs."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.process import factory as public_factory
from buildbot.process.build import Build
from buildbot.process.properties import Property
from buildbot.steps.cppcheck import Cppcheck
from buildbot.steps.factories import CPAN, BasicBuildFactory, BasicSVN, Distutils, GNUAutoconf, QuickBuildFactory
from buildbot.steps.factories import Trial as TrialFactory
from buildbot.steps.python import PyFlakes, PyLint, Sphinx
from buildbot.steps.python_twisted import HLint, RemovePYCs, Trial
from buildbot.steps.shell import ShellCommand
from buildbot.steps.subunit import SubunitShellCommand
from buildbot.test.steps import StepHarness
from buildbot.util.results import FAILURE, SKIPPED, SUCCESS, WARNINGS


async def run(step: Any, *lines: str, rc: int = 0, **stamp: Any) -> tuple[StepHarness, dict[str, Any]]:
    """Run a step whose program prints lines, several at once as real agents send them; its row."""
    output = [("stdout", "".join(f"{line}\n" for line in lines))]
    farm = StepHarness(step, script=lambda name, args: (output, rc))
    await farm.run(**stamp)
    return farm, farm.master.steps(1)[1]


def command_of(farm: StepHarness) -> Any:
    ((_, args),) = farm.connection.started
    return args["command"]


def properties_of(farm: StepHarness, prefix: str) -> dict[str, Any]:
    found = farm.master.build(1)["properties"]
    return {name.removeprefix(prefix): value for name, (value, _) in found.items() if name.startswith(prefix) and value}


@pytest.mark.parametrize(
    ("lines", "rc", "results", "text", "properties"),
    [
        (["Checking a.c..."], 0, SUCCESS, "cppcheck", {}),
        (
            ["[a.c:5]: (style) x", "[a.c:6] -> [b.c:7]: (performance) y", "(information) z"], 0, WARNINGS,
            "cppcheck style=1 performance=1 information=1 (warnings)",
            {"style": 1, "performance": 1, "information": 1, "total": 3},
        ),
        (
            ["[a.c:5]: (error) x", "[a.c:6]: (error) y"], 0, FAILURE, "cppcheck error=2 (failure)",
            {"error": 2, "total": 2},
        ),
        ([], 1, FAILURE, "cppcheck (failure)", {}),
    ],
)  # fmt: skip
async def test_cppcheck(lines: list[str], rc: int, results: int, text: str, properties: dict[str, int]) -> None:
    """Findings are counted by kind; an error fails the step."""
    step = Cppcheck(binary="cpp", source=["a", Property("buildername")], enable=["all", "style"], inconclusive=True,
                    extra_args=["-q"])  # fmt: skip
    farm, row = await run(step, *lines, rc=rc)
    assert command_of(farm) == ["cpp", "a", "b", "--enable=all,style", "--inconclusive", "-q"]
    assert (row["results"], row["state_string"]) == (results, text)
    assert properties_of(farm, "cppcheck-") == properties
    if "error" in properties:
        assert farm.master.text(2, "cppcheck-error") == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("lines", "rc", "results", "text"),
    [
        (["pyflakes .", "make: done"], 0, SUCCESS, "pyflakes"),
        (
            ["a.py:1:1: 'os' imported but unused", "b.py:2: redefinition of unused 'x' from line 1",
             "c.py:3:1 unable to detect undefined names", "d.py:4:1: something else"],
            1, WARNINGS, "pyflakes unused=1 redefs=1 import*=1 misc=1 (warnings)",
        ),
        (["a.py:1:1: undefined name 'y'"], 1, FAILURE, "pyflakes undefined=1 (failure)"),
        ([], 1, SUCCESS, "pyflakes"),
        ([], 2, FAILURE, "pyflakes (failure)"),
    ],
)  # fmt: skip
async def test_pyflakes(lines: list[str], rc: int, results: int, text: str) -> None:
    """An undefined name fails the step, everything else is a warning."""
    farm, row = await run(PyFlakes(), *lines, rc=rc)
    assert (row["results"], row["state_string"]) == (results, text)
    assert properties_of(farm, "pyflakes-").get("total", 0) == sum(".py:" in line for line in lines)


@pytest.mark.parametrize(
    ("lines", "rc", "results", "text"),
    [
        (["************* Module a", "Your code has been rated at 10/10"], 0, SUCCESS, "pylint"),
        (
            ["a.py:1:0: C0114: Missing module docstring (missing-module-docstring)", "a.py:2: [W0611(unused), ] Unused",
             "R0201: 5,4:A.b: Method could be a function", "a.py:3:0: I0011: Locally disabling"],
            28, WARNINGS, "pylint convention=1 refactor=1 warning=1 info=1 (warnings)",
        ),
        (["a.py:1:0: E1101: x"], 2, FAILURE, "pylint error=1 (failure)"),
        (["a.py:1:0: F0001: x"], 0, FAILURE, "pylint fatal=1 (failure)"),
        ([], 32, FAILURE, "pylint (failure)"),
        ([], 16, SUCCESS, "pylint"),
        ([], -1, FAILURE, "pylint (failure)"),
    ],
)  # fmt: skip
async def test_pylint(lines: list[str], rc: int, results: int, text: str) -> None:
    """Messages are counted by kind in each of pylint's formats, and stored as results of the build."""
    farm, row = await run(PyLint(command=["pylint", "a"]), *lines, rc=rc)
    assert (row["results"], row["state_string"]) == (results, text)
    sets = farm.master.get("steps", 2, "test_result_sets")
    with_files = [line for line in lines if line.startswith("a.py")]
    assert len(sets) == bool(with_files)
    if with_files:
        assert (sets[0]["category"], sets[0]["value_unit"]) == ("code_issue", "message")
        stored = farm.master.get("test_result_sets", sets[0]["test_result_setid"], "results")
        assert [(each["test_code_path"], each["line"]) for each in stored] == [
            ("a.py", int(line.split(":")[1])) for line in with_files
        ]
    assert not (await run(PyLint(command="x", store_results=False), *lines))[0].master.get("test_result_sets")


@pytest.mark.parametrize(
    ("lines", "rc", "results", "text"),
    [
        (["build succeeded."], 0, SUCCESS, "sphinx 0 warnings"),
        (["a.rst:1: WARNING: x", "b.rst:2: ERROR: y", "c.rst:3: (SEVERE/4) SEVERE: z"], 0, WARNINGS,
         "sphinx 3 warnings (warnings)"),
        (["a.rst:1: WARNING: x"], 1, FAILURE, "sphinx 1 warnings (failure)"),
    ],
)  # fmt: skip
async def test_sphinx(lines: list[str], rc: int, results: int, text: str) -> None:
    """The command line, and the warnings in the output."""
    step = Sphinx(
        sphinx_builddir="out", sphinx_sourcedir="doc", sphinx_builder="html", sphinx="sb", tags=["a", "b"],
        defines={"x": True, "y": None, "z": "1"}, strict_warnings=True, mode="full",
    )  # fmt: skip
    farm, row = await run(step, *lines, rc=rc)
    assert command_of(farm) == [
        "sb", "-b", "html", "-t", "a", "-t", "b", "-D", "x=1", "-D", "y", "-D", "z=1", "-E", "-W", "doc", "out"
    ]  # fmt: skip
    assert (row["results"], row["state_string"]) == (results, text)
    if results != SUCCESS:
        assert len(farm.master.text(2, "warnings").splitlines()) == len(lines)
    farm, _ = await run(Sphinx(sphinx_builddir="_build"))
    assert command_of(farm) == ["sphinx-build", ".", "_build"]


PASSED = ["test_a ... [OK]", "", "Ran 4 tests in 0.1s", ""]


@pytest.mark.parametrize(
    ("lines", "rc", "results", "text"),
    [
        ([*PASSED, "PASSED (successes=4)"], 0, SUCCESS, "4 tests passed"),
        ([*PASSED, "PASSED (skips=1, expectedFailures=2, successes=1)"], 0, SUCCESS, "4 tests passed 1 skip 2 todos"),
        (["=" * 70, "[FAIL]", "Ran 9 tests in 1s", "FAILED (failures=2, errors=1, skips=1, expectedFailures=1)"], 1,
         FAILURE, "tests 2 failures 1 error 1 skip 1 todo (failure)"),
        (["Ran 0 tests in 0.000s", "PASSED"], 0, SUCCESS, "no tests run"),
        (["Ran 1 test in 0.000s", "PASSED (successes=1)"], 0, SUCCESS, "1 test passed"),
        (["nothing"], 0, FAILURE, "testlog unparseable (failure)"),
        ([*PASSED, "PASSED (successes=4)"], 1, FAILURE, "4 tests passed (failure)"),
    ],
)  # fmt: skip
async def test_trial(lines: list[str], rc: int, results: int, text: str) -> None:
    """The numbers of tests by result are read from trial's report."""
    farm, row = await run(Trial(tests="a.test", testpath=None), *lines, rc=rc)
    assert (row["results"], row["state_string"]) == (results, text)
    assert command_of(farm) == ["trial", "--reporter=bwverbose", "a.test"]
    if lines[0].startswith("===="):
        assert farm.master.text(2, "problems").splitlines() == lines


async def test_trial_arguments() -> None:
    """The arguments give the command line and the watched files."""
    step = Trial(
        python=["python3", "-W"], trial="t", trialMode=["-v"], trialArgs=["-x"], testpath="lib", tests=["a", "b"],
        recurse=True, reactor="poll", randomly=True, jobs=2, env={"PYTHONPATH": "older"},
    )  # fmt: skip
    farm, row = await run(step, *PASSED, "PASSED")
    ((_, args),) = farm.connection.started
    assert args["command"] == [
        "python3", "-W", "t", "-v", "--recurse", "--reactor=poll", "--random=0", "-x", "--jobs=2", "a", "b"
    ]  # fmt: skip
    assert args["env"] == {"PYTHONPATH": ["lib", "older"]} and row["state_string"] == "4 tests passed (poll)"
    assert args["logfiles"]["err.1.log"] == "_trial_temp/1/err.log" and len(args["logfiles"]) == 6
    farm, _ = await run(Trial(testChanges=Property("none", default=True)), *PASSED, "PASSED")
    ((_, args),) = farm.connection.started
    assert args["command"] == ["trial", "--reporter=bwverbose"] and args["logfiles"] == {
        "test.log": "_trial_temp/test.log"
    }
    with pytest.raises(ConfigErrors, match="Trial: either tests or testChanges must be given"):
        Trial(testpath=".")


@pytest.mark.parametrize(
    ("lines", "rc", "results", "text"),
    [
        (["test: a", "success: a", "test: b", "skip: b [", "why", "]"], 0, SUCCESS, "2 tests 1 passed 1 skipped"),
        (
            ["test: a", "failure: a [ multipart", "success: inside", "]", "error: b", "xfail: c"], 0, FAILURE,
            "3 tests 1 failed 1 errors 1 expected failures (failure)",
        ),
        (["nothing"], 0, SUCCESS, "'x'"),
        (["success: a"], 1, FAILURE, "1 test 1 passed (failure)"),
    ],
)  # fmt: skip
async def test_subunit(lines: list[str], rc: int, results: int, text: str) -> None:
    """Tests are counted by result; details of a test are not taken for other tests."""
    farm, row = await run(SubunitShellCommand(command="x"), *lines, rc=rc)
    assert (row["results"], row["state_string"]) == (results, text)
    if lines[0] == "test: a" and results == FAILURE:
        assert farm.master.text(2, "problems").splitlines() == lines[1:5]
    if lines == ["nothing"]:
        _, row = await run(SubunitShellCommand(command="x", failureOnNoTests=True), *lines)
        assert (row["results"], row["state_string"]) == (FAILURE, "no tests run (failure)")


@pytest.mark.parametrize(
    ("lines", "rc", "results", "text"),
    [
        ([], 0, SUCCESS, "0 hlints"),
        (["a.xhtml:1:2: bad", "done"], 0, WARNINGS, "1 hlint (warnings)"),
        (["a.xhtml:1:2: bad", "a.xhtml:2:2: bad"], 1, FAILURE, "2 hlints (failure)"),
    ],
)
async def test_hlint(lines: list[str], rc: int, results: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed documents are checked, and findings are warnings; without changed documents the step is skipped."""
    files = ["a.xhtml", "sandbox/b.xhtml", "c.py"]
    monkeypatch.setattr(Build, "allFiles", lambda build: files)
    farm, row = await run(HLint(python="python2"), *lines, rc=rc)
    assert command_of(farm) == ["python2", "bin/lore", "-p", "--output", "lint", "a.xhtml"]
    assert (row["results"], row["state_string"]) == (results, text)
    if lines:
        assert farm.master.text(2, "warnings").splitlines() == [line for line in lines if ":" in line]
    files[0] = "a.py"
    farm, row = await run(HLint())
    assert farm.connection.started == []
    assert (row["results"], row["state_string"]) == (SKIPPED, "no changed .xhtml files (skipped)")


async def test_remove_pycs() -> None:
    """Compiled files are removed by the worker's own find."""
    farm, row = await run(RemovePYCs())
    assert command_of(farm) == ["find", ".", "-name", "*.pyc", "-delete"] and row["state_string"] == "remove .pycs"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Sphinx(), "Sphinx: argument 'sphinx_builddir' is missing"),
        (lambda: Sphinx(sphinx_builddir="b", mode="fast"), "mode must be one of 'incremental', 'full', not 'fast'"),
        (lambda: PyLint(), "PyLint needs a command"),
        (lambda: Cppcheck(command="x"), "invalid Cppcheck argument 'command'"),
        (lambda: Cppcheck(enable="style"), "enable must be a list, not 'style'"),
        (lambda: Trial(tests=[5]), "tests element 1 must be a string, not 5"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name them."""
    with pytest.raises(ConfigErrors) as caught:
        StepHarness(make())
    assert complaint in str(caught.value)


def commands(factory: Any) -> list[tuple[str, Any]]:
    return [(step.name, step.command) for step in factory.make_steps()[1:]]


def test_factories() -> None:
    """The steps of the factories; None leaves a step out."""
    source = ShellCommand(command="get it")
    assert commands(GNUAutoconf(source, configureEnv={"CC": "cc"}, configureFlags=["--x"], reconf=True)) == [
        ("autoreconf", ["autoreconf", "-si"]), ("configure", ["./configure", "--x"]), ("compile", ("make", "all")),
        ("test", ("make", "check")), ("test", ("make", "distcheck")),
    ]  # fmt: skip
    assert all(
        vars(step)["env"] == {"CC": "cc"} for step in GNUAutoconf(source, configureEnv={"CC": "cc"}).make_steps()[1:]
    )
    assert commands(GNUAutoconf(source, configure=None, test=None, distcheck=None, compile="make")) == [
        ("compile", "make")
    ]
    assert commands(CPAN(source, perl="p")) == [
        ("configure", ["p", "Makefile.PL"]), ("compile", ["make"]), ("test", ["make", "test"])
    ]  # fmt: skip
    assert commands(Distutils(source, python="py", test="t")) == [
        ("compile", ["py", "./setup.py", "build"]),
        ("test", "t"),
    ]
    steps: list[Any] = [*TrialFactory(source, tests="a.test", trialpython=["py"]).make_steps()]
    assert steps[1].command == ["python", "./setup.py", "build"]
    assert (steps[2].tests, steps[2].python, steps[2].testpath) == (["a.test"], ["py"], ".")
    assert public_factory.GNUAutoconf is GNUAutoconf
    made: Any
    for made, where in (
        (BasicBuildFactory("root", "module", cvsCopy=True), ("full", "copy")),
        (QuickBuildFactory("root", "module", configure="./configure"), ("incremental", None)),
        (BasicSVN("svn://x/trunk"), ("incremental", None)),
    ):
        got = made.make_steps()[0]
        assert (got.mode, got.method) == where
        names = ["configure"] if isinstance(made, QuickBuildFactory) else []
        assert [name for name, _ in commands(made)] == [*names, "compile", "test", "test"]
        assert ("compile", "make all") in commands(made)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = public_factory.Nothing
