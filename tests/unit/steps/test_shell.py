"""Steps that run a program on the worker."""

from __future__ import annotations

import re
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Interpolate, Property, renderer
from buildbot.steps.cmake import CMake
from buildbot.steps.shell import (
    Compile,
    Configure,
    PerlModuleTest,
    SetPropertyFromCommand,
    ShellCommand,
    Test,
    TreeSize,
    WarningCountingShellCommand,
)
from buildbot.steps.shellsequence import ShellArg, ShellSequence
from buildbot.test.steps import StepHarness
from buildbot.util.results import EXCEPTION, FAILURE, SUCCESS, WARNINGS
from tests.support.steps import run

COMMANDS = "buildbot.steps.shell"


def prints(*lines: str, rc: int = 0) -> Any:
    """A program that prints lines, several at once as real agents send them."""
    return lambda name, args: ([("stdout", "".join(f"{line}\n" for line in lines))], rc)


async def test_defaults() -> None:
    """The defaults of each step: command, texts, and the effect of a failure."""
    farm, rows = await run(Configure(), Compile(), Test(), script=lambda name, args: ([], 0))
    assert [args["command"] for _, args in farm.connection.started] == [
        ["./configure"], ["make", "all"], ["make", "test"]
    ]  # fmt: skip
    assert [(row["name"], row["state_string"]) for row in rows] == [
        ("configure", "configure"), ("compile", "compile"), ("test", "test")
    ]  # fmt: skip
    flags = [(step.haltOnFailure, step.flunkOnFailure, step.warnOnFailure) for step in (Configure(), Compile(), Test())]
    assert flags == [(True, True, False), (True, True, False), (False, True, True)]


async def test_every_argument_reaches_the_worker() -> None:
    """Each argument of a shell command is sent as agents know it, with its renderables replaced."""
    step = ShellCommand(
        command=["a", Property("buildername"), ["b", Interpolate("%(prop:workername)s")]],
        workdir=Interpolate("dir-%(prop:buildername)s"),
        env={"A": "1", "B": ["x", Property("buildername")], "C": None, "N": 5},
        want_stdout=False, want_stderr=False, usePTY=True,
        logfiles={"l": "a.log", "f": {"filename": "f", "follow": True}}, timeout=5,
        maxTime=6.5, max_lines=7, sigtermTime=8, interruptSignal="INT", logEnviron=False, initialStdin="in",
        decodeRC={3: SUCCESS},
    )  # fmt: skip
    farm, (row,) = await run(step, script=lambda name, args: ([], 3), env={"A": "0", "Z": 26})
    ((name, args),) = farm.connection.started
    assert name == "shell" and row["results"] == SUCCESS
    assert args == {
        "command": ["a", "b", "b", "w"], "workdir": "dir-b",
        "env": {"A": "1", "B": ["x", "b"], "C": None, "N": "5", "Z": "26"}, "want_stdout": False, "want_stderr": False,
        "usePTY": True, "logfiles": {"l": "a.log", "f": {"filename": "f", "follow": True}},
        "timeout": 5, "maxTime": 6.5,
        "max_lines": 7, "sigtermTime": 8, "interruptSignal": "INT", "logEnviron": False, "initial_stdin": "in",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"env": {"A": True}}, "env ['A'] must be a text, a list of texts or None, not True"),
        ({"env": {"A": ["x", 5]}}, "env element 2 must be a string, not 5"),
        ({"env": {5: "x"}}, "env must have strings as keys, not 5"),
        ({"logfiles": {"l": 5}}, "logfiles ['l'] must be the path of a file, not 5"),
        (
            {"logfiles": {"l": {"file": "x"}}},
            "logfiles ['l'] must have 'filename', may have 'follow', and no more",
        ),
        ({"decodeRC": {"0": SUCCESS}}, "decodeRC must have exit codes as keys and results as values, not '0': 0"),
        ({"decodeRC": {0: "success"}}, "not 0: 'success'"),
        ({"initialStdin": 5}, "initialStdin must be a text, not 5"),
        ({"timeout": "5"}, "timeout must be a number, not '5'"),
        ({"max_lines": 1.5}, "max_lines must be a whole number"),
        ({"interruptSignal": "STOPP"}, "interruptSignal must be the name of a signal"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name class, argument and value."""
    with pytest.raises(ConfigErrors) as caught:
        ShellCommand(command="x", **arguments)
    assert f"ShellCommand: {complaint}" in str(caught.value) or complaint in str(caught.value)


OUTPUT = (
    "make[1]: Entering directory '/w/b/sub'",
    "x.c:5: warning: first",
    "make[2]: Entering directory `deep'",
    "y.c:60: Warning: second",
    "make[2]: Leaving directory `deep'",
    "z.c:7: warning: third",
    "no warnings here",
)
GROUPS = {
    "warningPattern": r"(.*?):(\d+): [wW]arning: (.*)",
    "warningExtractor": WarningCountingShellCommand.warnExtractFromRegexpGroups,
}


@pytest.mark.parametrize(
    ("arguments", "counted"),
    [
        ({}, [1, 3, 5]),
        ({"warningPattern": None}, []),
        ({"warningPattern": re.compile("no WARNINGS", re.I)}, [6]),
        ({"suppressionList": [(None, "second", None, None)]}, [1, 5]),
        ({"suppressionList": [("no.c", "first", None, None)]}, [3, 5]),  # the whole line names no file
        ({"suppressionList": [(None, "first", 5, 5)]}, [1, 3, 5]),  # nor a line
        ({**GROUPS, "suppressionList": [("/w/b/sub/x.c", None, None, None)]}, [3, 5]),
        ({**GROUPS, "suppressionList": [("x.c", None, None, None)]}, [1, 3, 5]),  # not at the beginning
        ({**GROUPS, "suppressionList": [("deep/y.c", "^sec", 60, 60)]}, [1, 5]),
        ({**GROUPS, "suppressionList": [("deep/y.c", "^sec", 61, None), (".*z.c", None, None, 7)]}, [1, 3]),
        ({**GROUPS, "suppressionList": [(None, "^arn", None, None)], "directoryEnterPattern": None}, [1, 3, 5]),
        ({**GROUPS, "suppressionList": [("z.c", None, None, None)], "directoryEnterPattern": None}, [1, 3]),
        ({"suppressionList": Property("none")}, [1, 3, 5]),
    ],
)
async def test_suppressions(arguments: dict[str, Any], counted: list[int]) -> None:
    """Warnings are suppressed by file, also below make's directories, by text and by line."""
    farm, (row,) = await run(Compile(**arguments), script=prints(*OUTPUT))
    assert row["results"] == (WARNINGS if counted else SUCCESS)
    assert farm.master.build(1)["properties"]["warnings-count"] == (len(counted), "WarningCountingShellCommand")
    if counted:
        assert farm.master.text(2, f"warnings ({len(counted)})").splitlines() == [OUTPUT[number] for number in counted]
    else:
        assert [log["name"] for log in farm.master.get("steps", 2, "logs")] == ["stdio"]


@pytest.mark.parametrize(
    ("content", "counted", "said"),
    [
        ("# a comment\n\n.*y.c : second\n", 2, "compile"),
        (".*y.c: second :60\n.*z.c :third: 1-6\n", 2, "compile"),
        (".*y.c : second : 1-100\n", 2, "compile"),
        ("no colon\n", None, "supp: line 1 is not 'file : text' or 'file : text : lines': 'no colon' (failure)"),
        ("\n( : x\n", None, "supp: line 2: must be a regular expression, not '(' (str)"),
        (None, None, "the worker has no suppressionFile 'supp' (failure)"),
    ],
)
async def test_suppression_file(content: str | None, counted: int | None, said: str) -> None:
    """A file on the worker may have suppressions; a mistake in it is reported with its line."""

    def script(name: str, args: dict[str, Any]) -> Any:
        if name == "shell":
            return prints(*OUTPUT)(name, args)
        assert (args["workersrc"], args["workdir"]) == ("supp", "build")
        if content is not None:
            args["writer"].write(content.encode())
        args["writer"].close()
        return [], 0 if content is not None else 1

    farm, (row,) = await run(Compile(suppressionFile="supp", **GROUPS), script=script)
    assert said in row["state_string"]
    assert row["results"] == (WARNINGS if counted else FAILURE)
    if counted:
        assert farm.master.build(1)["properties"]["warnings-count"][0] == counted


@pytest.mark.parametrize(("most", "results"), [(3, WARNINGS), (2, FAILURE), (0, FAILURE)])
async def test_max_warn_count(most: int, results: int) -> None:
    """More warnings than ``maxWarnCount`` are a failure; the property counts over the build."""
    farm, rows = await run(
        Compile(maxWarnCount=most, haltOnFailure=False), Compile(warningPattern="z"), script=prints(*OUTPUT)
    )
    assert [row["results"] for row in rows] == [results, WARNINGS]
    assert farm.master.build(1)["properties"]["warnings-count"][0] == 4


async def test_flood_of_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many warnings a part is kept, and all are counted."""
    monkeypatch.setattr(f"{COMMANDS}.MAX_WARNINGS_CHARS", 30)
    farm, _ = await run(Compile(), script=prints(*["warning: again"] * 1000))
    assert farm.master.text(2, "warnings (1000)") == "warning: again\n" * 2 + "… and 998 more\n"


async def test_own_evaluation() -> None:
    """A subclass decides the result, after the log was read and the summary was made."""
    order: list[str] = []

    class Mine(Test):
        warningPattern = "w"

        def createSummary(self) -> None:
            order.append("summary")

        async def evaluateCommand(self, cmd: Any) -> int:
            order.append(f"evaluate {cmd.rc} {self.warnCount} {super().evaluateCommand(cmd)}")
            self.setTestResults(total=5, passed=3, failed=2)
            self.setTestResults(total=1, warnings=1)
            return FAILURE

    farm, (row,) = await run(Mine(command="x"), script=prints("w", "ok", "w"))
    assert order == ["summary", "evaluate 0 2 1"]
    assert (row["results"], row["state_string"]) == (FAILURE, "6 tests 3 passed 1 warnings 2 failed (failure)")
    assert farm.master.build(1)["state_string"] == "failed test 6 tests 3 passed 1 warnings 2 failed (failure)"
    assert "warnings-count" not in farm.master.build(1)["properties"]


@pytest.mark.parametrize(
    ("lines", "rc", "text", "results"),
    [
        (("All tests successful.", "Files=2, Tests=7,  0 wallclock secs"), 0, "7 tests 7 passed", SUCCESS),
        (("Failed 1/1 test scripts", "Failed 2/9 tests, 77% okay"), 0, "9 tests 7 passed 2 failed (failure)", FAILURE),
        (
            ("t/a.t (Wstat: 256 (exited 1) Tests: 4 Failed: 2)", "  Failed tests:  1, 3", "Files=1, Tests=4, 0 secs",
             "Result: FAIL"),
            1, "4 tests 2 passed 2 failed (failure)", FAILURE,
        ),
        (("nothing",), 1, "test: exit code 1 (failure)", FAILURE),
        (("nothing",), 0, "test", SUCCESS),
    ],
)  # fmt: skip
async def test_perl(lines: tuple[str, ...], rc: int, text: str, results: int) -> None:
    """The output of older and newer versions of prove is read."""
    farm, (row,) = await run(PerlModuleTest(), script=prints(*lines, rc=rc))
    assert (row["state_string"], row["results"]) == (text, results)
    assert farm.connection.started[0][1]["command"] == ["prove", "--lib", "lib", "-r", "t"]


@pytest.mark.parametrize(
    ("output", "rc", "text", "results"),
    [
        ("1234\t.", 0, "treesize 1234 KiB", SUCCESS),
        ("rubbish", 0, "treesize unknown (warnings)", WARNINGS),
        ("1234\t.", 1, "treesize unknown (failure)", FAILURE),
    ],
)
async def test_tree_size(output: str, rc: int, text: str, results: int) -> None:
    """The size of a directory becomes a property."""
    farm, (row,) = await run(TreeSize(), script=prints(output, rc=rc))
    assert (row["state_string"], row["results"]) == (text, results)
    properties = farm.master.build(1)["properties"]
    assert properties.get("tree-size-KiB") == ((1234, "treesize") if results == SUCCESS else None)


async def test_set_property_from_command() -> None:
    """The step's text names the property, also for a command with warnings; streams are used as configured."""
    both = [("stdout", "out\n"), ("stderr", "err\n")]
    farm, rows = await run(
        SetPropertyFromCommand("a", command="x", decodeRC={0: WARNINGS}),
        SetPropertyFromCommand(command="x", property="b", includeStdout=False),
        SetPropertyFromCommand(command="x", property="c", includeStdout=False, includeStderr=True),
        SetPropertyFromCommand(command="x", extract_fn=lambda rc, out, err: {"d": out, "e": err}, includeStdout=False),
        SetPropertyFromCommand(command="x", extract_fn=lambda rc, out, err: None, name="none"),
        SetPropertyFromCommand(command="x", extract_fn=lambda rc, out, err: ["a"], name="wrong"),
        script=lambda name, args: (both, 0),
    )
    values = {name: value for name, (value, _) in farm.master.build(1)["properties"].items()}
    assert [values[name] for name in "abcde"] == ["out", "", "err", "out\n", "err\n"]
    assert [row["state_string"] for row in rows] == [
        "property 'a' set (warnings)", "property 'b' set", "property 'c' set", "2 properties set", "'x'",
        "'x' (exception)",
    ]  # fmt: skip
    assert "must return a dictionary, not ['a']" in farm.master.text(7, "err.text")
    assert farm.master.text(5, "property changes") == "d: 'out\\n'\ne: 'err\\n'\n"


async def test_cmake() -> None:
    """The arguments give the command line."""
    step = CMake(
        path=Interpolate("../%(prop:buildername)s"), generator="Ninja",
        definitions={"A": "1", "B": Property("buildername")}, options=["--fresh"], cmake="/usr/bin/cmake",
    )  # fmt: skip
    farm, rows = await run(step, CMake(), script=prints())
    assert [args["command"] for _, args in farm.connection.started] == [
        ["/usr/bin/cmake", "-G", "Ninja", "-DA=1", "-DB=b", "--fresh", "../b"],
        ["cmake"],
    ]
    assert rows[0]["state_string"] == "cmake" and step.haltOnFailure
    for arguments, complaint in (
        ({"definitions": ["A"]}, "definitions must be a dictionary"),
        ({"options": "--fresh"}, "options must be a list, not '--fresh'"),
        ({"command": "x"}, "invalid CMake argument 'command'"),
    ):
        with pytest.raises(ConfigErrors) as caught:
            CMake(**arguments)
        assert complaint in str(caught.value)


def by_command(codes: dict[str, int]) -> Any:
    """A program that prints its command and ends as the test says."""
    return lambda name, args: ([("stdout", f"{args['command']}\n")], codes.get(args["command"], 0))


@pytest.mark.parametrize(
    ("commands", "ran", "results", "text"),
    [
        ([ShellArg("a"), ShellArg("b c d")], ["a", "b c d"], SUCCESS, "'b c ...'"),
        ([ShellArg("bad"), ShellArg("b")], ["bad", "b"], FAILURE, "'b' (failure)"),
        ([ShellArg("bad", haltOnFailure=True), ShellArg("b")], ["bad"], FAILURE, "'bad': exit code 1 (failure)"),
        ([ShellArg("bad", flunkOnFailure=False), ShellArg("b")], ["bad", "b"], SUCCESS, "'b'"),
        (
            [ShellArg("bad", flunkOnFailure=False, warnOnFailure=True)],
            ["bad"],
            WARNINGS,
            "'bad': exit code 1 (warnings)",
        ),
        ([ShellArg(""), ShellArg([]), ShellArg("a")], ["a"], SUCCESS, "'a'"),
        ([ShellArg(Property("buildername")), ShellArg(Property("none", default=""))], ["b"], SUCCESS, "'b'"),
        ([], [], SUCCESS, "finished"),
        (renderer(lambda props: [ShellArg(props.getProperty("buildername"))]), ["b"], SUCCESS, "'b'"),
    ],
)  # fmt: skip
async def test_sequence(commands: Any, ran: list[str], results: int, text: str) -> None:
    """Commands run in order; the flags of each decide the effect of its failure."""
    farm, (row,) = await run(ShellSequence(commands=commands), script=by_command({"bad": 1}))
    assert [args["command"] for _, args in farm.connection.started] == ran
    assert (row["results"], row["state_string"]) == (results, text)


async def test_logs_of_a_sequence() -> None:
    """Each command names the log of its output, or none; two commands may share a log."""
    step = ShellSequence(
        [ShellArg("a", logname="l"), ShellArg("b"), ShellArg("c", logname="l"), ShellArg("d", logname="m")],
        workdir="dir", env={"X": "1"}, logfiles={"w": "w.log"}, lazylogfiles=True,
    )  # fmt: skip
    farm, _ = await run(step, script=by_command({}))
    ended = "hprogram finished with exit code 0\n"
    assert farm.master.text(2, "l") == f"oa\n{ended}oc\n{ended}" and farm.master.text(2, "m") == f"od\n{ended}"
    assert [log["name"] for log in farm.master.get("steps", 2, "logs")] == ["l", "m"]
    assert all(args["workdir"] == "dir" and args["env"] == {"X": "1"} for _, args in farm.connection.started)


async def test_sequence_of_a_subclass() -> None:
    """A subclass makes its commands when it runs, selects those that run, and makes the text."""

    class Mine(ShellSequence):
        async def run(self) -> int:
            made = [ShellArg(command=["echo", Property("buildername")], logname="l"), ShellArg("skipped")]
            results: int = await self.runShellSequence(made)
            return results

        def shouldRunTheCommand(self, oneCmd: Any) -> bool:
            return bool(oneCmd != "skipped")

        def getFinalState(self) -> str:
            return f"ran {self.last_command}"

    farm, (row,) = await run(Mine(), script=prints("x"))
    assert [args["command"] for _, args in farm.connection.started] == [["echo", "b"]]
    assert row["state_string"] == "ran ['echo', 'b']"


async def test_wrong_sequence() -> None:
    """A wrong list of commands is an error of the configuration, or of the step if it is rendered."""
    for make, complaint in (
        (lambda: ShellSequence(commands=[["make"]]), "commands element 1 must be a util.ShellArg, not ['make'] (list)"),
        (lambda: ShellSequence(commands="make"), "commands must be a list, not 'make'"),
        (lambda: ShellSequence([ShellArg("a")], command="b"), "invalid ShellSequence argument 'command'"),
        (lambda: StepHarness(ShellSequence()), "ShellSequence needs commands"),
        (lambda: ShellArg(5), "ShellArg: command must be a text or a list, not 5"),
        (lambda: ShellArg("a", logname=""), "logname must be a text that is not empty"),
        (lambda: ShellArg("a", halt=True), "unknown argument 'halt'"),
    ):
        with pytest.raises(ConfigErrors) as caught:
            make()
        assert complaint in str(caught.value)
    _, (row,) = await run(ShellSequence(commands=renderer(lambda props: ["make"])))
    assert row["results"] == FAILURE and "element 1 must be a util.ShellArg, not 'make'" in row["state_string"]
    farm, (row,) = await run(ShellSequence([ShellArg(Property("none"))]))
    assert row["results"] == EXCEPTION
    assert "ShellArg(Property(none)): command must be a text or a list, not None" in farm.master.text(2, "err.text")
