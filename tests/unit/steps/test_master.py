"""Steps that run on the master, with real programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.process.factory import BuildFactory
from buildbot.process.properties import Interpolate, Property
from buildbot.steps.master import Assert, LogRenderable, MasterShellCommand, SetProperties, SetProperty
from buildbot.test.steps import StepHarness
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS
from tests.support.steps import run


async def test_master_shell_command(tmp_path: Path) -> None:
    """A command runs in the master's directory; its output is the log, its streams are kept apart."""
    command = Interpolate("pwd; echo oops >&2; printf '\\303\\274 %(prop:buildername)s'")
    farm, (row,) = await run(MasterShellCommand(command=command), directory=tmp_path)
    assert (row["name"], row["state_string"], row["results"]) == ("MasterShellCommand", "Ran", SUCCESS)
    lines = farm.master.text(2).splitlines()
    assert f"o{tmp_path}" in lines and "eoops" in lines and "o\u00fc b" in lines
    assert f"h in directory {tmp_path}" in lines and lines[0].startswith("hpwd; echo oops")
    assert ("setStepStateString", 2, "Running") in farm.master.calls


async def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program has the given environment, or the master's, which the log does not show."""
    monkeypatch.setenv("TOKEN_OF_THE_MASTER", "hidden")
    (tmp_path / "sub").mkdir()
    env = {"A": ["x", "${TOKEN_OF_THE_MASTER}"], "B": "${NONE_SUCH}b", "C": None, "PATH": "/bin:/usr/bin", "N": 5}
    farm, rows = await run(
        MasterShellCommand(command="echo $A,$B,$N,$HOME; pwd", env=env, workdir="sub"),
        MasterShellCommand(command="echo $TOKEN_OF_THE_MASTER | tr h H"),
        MasterShellCommand(command=["env"], env={"X": "1"}, logEnviron=False),
        directory=tmp_path,
    )
    assert [row["results"] for row in rows] == [SUCCESS] * 3
    assert "ox:hidden,b,5,\n" in farm.master.text(2) and f"o{tmp_path}/sub\n" in farm.master.text(2)
    assert "h  A=x:hidden\n" in farm.master.text(2)
    assert "oHidden\n" in farm.master.text(3) and "hidden" not in farm.master.text(3)
    assert [line for line in farm.master.text(4).splitlines() if "X=1" in line] == ["oX=1"]


@pytest.mark.parametrize(
    ("arguments", "text", "build", "header"),
    [
        ({"command": "exit 3"}, "failed (3) (failure)", "MasterShellCommand: failed (3) (failure)", "hexit status 3"),
        ({"command": "kill -9 $$"}, "killed (9) (failure)", "MasterShellCommand: killed (9) (failure)", "hsignal 9"),
        (
            {"command": ["false"], "descriptionDone": "tried", "name": "try"},
            "tried: failed (1) (failure)",
            "tried: failed (1) (failure)",
            "hexit status 1",
        ),
        (
            {"command": "sleep 100 & sleep 100", "runtime_timeout": 0.01},
            "killed (15) (failure)",
            "MasterShellCommand: killed (15) (failure)",
            "hsignal 15",
        ),
    ],
)
async def test_failure(arguments: dict[str, Any], text: str, build: str, header: str) -> None:
    """The texts of step and build, and the log, say how a program failed; a failure halts the build."""
    farm, rows = await run(MasterShellCommand(**arguments), SetProperty("never", 1))
    assert [(row["state_string"], row["results"]) for row in rows] == [(text, FAILURE)]
    assert farm.master.build(1)["state_string"] == f"failed {build}"
    assert farm.master.text(2).splitlines()[-1] == header


async def test_program_that_ignores_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that runs too long and ignores SIGTERM is killed, with its child processes."""
    monkeypatch.setattr("buildbot.steps.master.KILL_AFTER_S", 0.05)
    monkeypatch.setattr("buildbot.steps.master.DRAIN_S", 1000)
    command = "trap '' TERM; sleep 100 & sleep 100; sleep 100"
    farm, (row,) = await run(MasterShellCommand(command=command, runtime_timeout=0.3))
    assert row["state_string"] == "killed (9) (failure)"
    assert "hstill running after 0.3 s, which is too long" in farm.master.text(2)


async def test_output_held_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step ends with its program, also if a child process keeps the output open."""
    monkeypatch.setattr("buildbot.steps.master.DRAIN_S", 0.01)
    farm, (row,) = await run(MasterShellCommand(command="sleep 3 & echo done"))
    assert row["results"] == SUCCESS and "odone\n" in farm.master.text(2)


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
async def test_stop(signal: str) -> None:
    """A program ends when its build is stopped."""
    farm = StepHarness(MasterShellCommand(command="echo here; sleep 100", interruptSignal=signal))
    await farm.start()
    await farm.build()
    await farm.master.until(lambda: any("here" in str(call) for call in farm.master.of("appendLog")))
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    row = farm.master.steps(1)[1]
    assert (row["results"], row["state_string"]) == (CANCELLED, "Ran (cancelled)")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"command": ["no-such-program"]}, "the master has no program 'no-such-program' that can be run"),
        ({"command": ["./none"]}, "the master has no program"),
        ({"command": "true", "workdir": "/no/such"}, "No such file or directory: '/no/such'"),
    ],
)
async def test_cannot_start(arguments: dict[str, Any], said: str) -> None:
    """A program that cannot be started is an EXCEPTION with the reason."""
    farm, (row,) = await run(MasterShellCommand(**arguments))
    assert row["results"] == EXCEPTION and said in farm.master.text(2, "err.text")


async def test_words_of_a_command() -> None:
    """Lists in a list are flattened, and numbers become texts."""
    farm, (row,) = await run(MasterShellCommand(command=["echo", [Property("buildnumber"), ["x"]], 1.5]))
    assert row["results"] == SUCCESS and "o1 x 1.5\n" in farm.master.text(2)


async def test_terminal() -> None:
    """The output of a program in a terminal is logged."""
    farm, (row,) = await run(MasterShellCommand(command="test -t 1 && echo yes >&2", usePTY=True))
    assert row["results"] == SUCCESS and "oyes" in farm.master.text(2)


async def test_much_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that writes faster than the log is stored is paused, and no output is lost."""
    monkeypatch.setattr("buildbot.process.logwriter.MAX_BACKLOG_CHARS", 10_000)
    farm, (row,) = await run(MasterShellCommand(command="seq 10000"))
    assert row["results"] == SUCCESS
    lines = [line for line in farm.master.text(2).splitlines() if line.startswith("o")]
    assert lines == [f"o{number}" for number in range(1, 10_001)]


async def test_properties() -> None:
    """Properties are set, with the name of the step's class as source."""
    farm, rows = await run(
        SetProperty("a", "1"),
        SetProperties({"b": [Property("a")]}, name="mine"),
        SetProperties(),
        SetProperties(properties=None),
    )
    assert [row["state_string"] for row in rows] == ["Set", "Properties Set", "Properties Set", "Properties Set"]
    properties = farm.master.build(1)["properties"]
    assert (properties["a"], properties["b"]) == (("1", "SetProperty"), (["1"], "SetProperties"))


async def test_log_renderable() -> None:
    """A value is written in Python's form."""
    farm, (row,) = await run(LogRenderable({"b": Property("buildername"), "a": ["x" * 60, "y" * 60]}))
    assert row["state_string"] == "Logged"
    assert farm.master.text(2, "Output") == f"{{'a': ['{'x' * 60}',\n       '{'y' * 60}'],\n 'b': 'b'}}\n"


async def test_assert() -> None:
    """A value that is not true fails the step; its text names the check."""
    farm, rows = await run(
        Assert(Property("buildername") == "b"),
        Assert(Property("none")),
        Assert(check=0, name="zero", haltOnFailure=True),
    )
    assert [(row["results"], row["state_string"]) for row in rows] == [
        (SUCCESS, "checked Property(buildername) == 'b'"),
        (FAILURE, "checked Property(none) (failure)"),
        (FAILURE, "checked 0 (failure)"),
    ]
    assert farm.master.build(1)["state_string"] == "failed Assert_1 (failure) zero (failure)"


class CommandLater(MasterShellCommand):
    """Sets its command after ``__init__``, as subclasses of existing configurations do."""

    def __init__(self, later: Any, **kwargs: Any) -> None:
        super().__init__("", **kwargs)
        self.command = later


async def test_command_set_later() -> None:
    """A subclass may set the command after ``__init__``; without one it is an error of the configuration."""
    _, (row,) = await run(CommandLater("true"))
    assert row["results"] == SUCCESS
    with pytest.raises(ConfigErrors, match="CommandLater: command must be a text"):
        BuildFactory([CommandLater(None)])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: MasterShellCommand(), "MasterShellCommand: argument 'command' is missing"),
        (lambda: MasterShellCommand(command=5), "command must be a list, not 5"),
        (lambda: MasterShellCommand(command=[]), "not an empty list"),
        (lambda: MasterShellCommand(command=["a", None]), "command element 2 must be a text, not None"),
        (lambda: MasterShellCommand(command=""), "command must be a text that is not empty"),
        (lambda: MasterShellCommand("x", interruptSignal="SIGTERM"), "interruptSignal must be the name of a signal"),
        (lambda: MasterShellCommand("x", decodeRC={}), "unknown argument 'decodeRC'"),
        (lambda: MasterShellCommand("x", env=["A=b"]), "env must be a dictionary, not ['A=b'] (list)"),
        (lambda: SetProperty(value=5), "SetProperty: argument 'property' is missing"),
        (lambda: Assert(), "Assert: argument 'check' is missing"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name them."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint in str(caught.value)
