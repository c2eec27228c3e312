"""A build that uses a secret stores its value nowhere."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard

from buildbot.config import ConfigErrors
from buildbot.plugins import steps, util
from buildbot.process.buildstep import BuildStep, BuildStepFailed, ShellMixin
from buildbot.process.factory import BuildFactory
from buildbot.process.loglines import MAX_LINE_CHARS
from buildbot.process.results import EXCEPTION, FAILURE, SUCCESS
from buildbot.secrets.manager import SecretManager
from buildbot.test.steps import StepHarness
from tests.unit.secrets.test_providers import InMemory

VALUE = "s3cr3t & 'quoted'"
SECRET = util.Secret("token")


async def harness(*its_steps: Any, script: Any = None) -> StepHarness:
    """A builder whose master has the secret."""
    made = StepHarness(*its_steps, script=script)
    manager = SecretManager(made.master)
    made.master.namedServices = {"secrets": manager}  # type: ignore[attr-defined]
    await manager.startService()
    await manager.use([InMemory({"token": VALUE, "lines": "first line\nsecond line\n"})])
    return made


def everything(made: StepHarness) -> Iterator[str]:
    """The content of the database, unpacked."""
    engine = made.master.db.pool.engine
    with engine.connect() as conn:
        raw: Any = conn.connection.dbapi_connection
        tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in raw.execute(f"SELECT * FROM {table}"):
                for value in row:
                    if isinstance(value, bytes):
                        with suppress(zstandard.ZstdError):  # not everything is packed
                            value = zstandard.ZstdDecompressor().decompress(value, max_output_size=1 << 24)
                        value = value.decode("utf-8", "replace")
                    yield f"{table}: {value}"


class Tells(ShellMixin, BuildStep):
    """Writes the secret to all places that a step can write to."""

    renderables = ["token"]
    token = SECRET

    def __init__(self, end: str = "", **kwargs: Any) -> None:
        self.end = end
        kwargs = self.setupShellMixin(kwargs)
        super().__init__(**kwargs)

    async def run(self) -> int:
        command = await self.makeRemoteShellCommand(command=["login", self.token], collectStdout=True)
        await self.runCommand(command)
        self.setProperty("printed", command.stdout)
        self.setProperty("nested", {"key": [self.token]})
        self.descriptionDone = f"logged in with {self.token}"
        self.addCompleteLog(f"log {self.token}", f"all of {self.token}\n")
        self.addHTMLLog("html", f"<b>{self.token.replace('&', '&amp;')}</b>")
        self.addURL(f"link {self.token}", f"https://x/?t={self.token}")
        self.setBuildData("data", f"x{self.token}x".encode(), f"source {self.token}")
        setid = await self.addTestResultSet(f"set {self.token}", "pass_fail", "boolean")
        self.addTestResult(setid, "1", test_name=f"test of {self.token}")
        if self.end == "fails":
            raise BuildStepFailed(f"no login with {self.token}")
        if self.end == "breaks":
            raise ValueError(f"no login with {self.token}")
        return SUCCESS


def echo(name: str, args: dict[str, Any]) -> Any:
    """Prints its arguments, split in the middle of the secret, and in other forms."""
    header = f"login {VALUE}\n argv: {['login', VALUE]!r}\n"
    half = len(VALUE) // 2
    return [
        ("header", header),
        ("stdout", f"with {VALUE[:half]}"),
        ("stderr", f"err {VALUE}\n"),
        ("stdout", f"{VALUE[half:]} again\n"),
        ("stdout", VALUE),
    ], 0


@pytest.mark.parametrize(("end", "results"), [("", SUCCESS), ("fails", FAILURE), ("breaks", EXCEPTION)])
async def test_whatever_a_step_does_with_it(end: str, results: int) -> None:
    """Logs, properties, state, links, build data, test results, errors and events have the name only."""
    made = await harness(
        Tells(end),
        steps.SetProperty(property="p", value=util.Interpolate("x%(secret:token)sx"), name=SECRET, alwaysRun=True),
        script=echo,
    )
    build = await made.run()
    assert build["results"] == results
    kept = list(everything(made))
    assert [each for each in kept if "s3cr3t" in each or "quoted" in each] == []
    assert any("with <token> again" in each for each in kept)
    assert any("x<token>x" in each for each in kept if each.startswith("build_properties"))
    assert build["properties"]["nested"][0] == {"key": ["<token>"]}
    ((_, args),) = made.connection.started
    assert args["command"] == ["login", VALUE]
    await made.stop()


async def test_steps_go_on_with_the_value() -> None:
    """The name is stored; a later step renders the value."""
    made = await harness(
        steps.SetProperty(property="p", value=SECRET),
        steps.ShellCommand(command=["login", util.Property("p")]),
    )
    build = await made.run()
    assert build["properties"]["p"][0] == "<token>"
    assert made.connection.started[0][1]["command"] == ["login", VALUE]
    await made.stop()


@pytest.mark.parametrize("before", range(MAX_LINE_CHARS - len(VALUE), MAX_LINE_CHARS + 2, 5))
async def test_where_a_long_line_is_cut(before: int) -> None:
    """A secret across the cut of a long line is hidden completely."""

    def script(name: str, args: dict[str, Any]) -> Any:
        return [("stdout", "x" * before), ("stdout", VALUE[:5]), ("stdout", VALUE[5:] + "y" * 50), ("stdout", "\n")], 0

    made = await harness(steps.ShellCommand(command=["login", SECRET]), script=script)
    await made.run()
    text = "".join(everything(made))
    assert not any(VALUE[at : at + 6] in text for at in range(len(VALUE) - 6))
    assert "<token>" in text
    await made.stop()


async def test_several_lines() -> None:
    """Each line of a secret is hidden, in output of any pieces."""

    def script(name: str, args: dict[str, Any]) -> Any:
        return [("stdout", "key: first li"), ("stdout", "ne\nsecond"), ("stdout", " line\n")], 0

    made = await harness(steps.ShellCommand(command=["login", util.Secret("lines")]), script=script)
    await made.run()
    assert not any("first" in each or "second line" in each for each in everything(made))
    await made.stop()


async def test_a_secret_that_is_missing() -> None:
    """The step ends with EXCEPTION, which names the secret."""
    made = await harness(steps.ShellCommand(command=["login", util.Secret("nothing")]))
    build = await made.run()
    assert build["results"] == EXCEPTION
    assert any("secret key nothing is not found in any provider" in each for each in everything(made))
    await made.stop()


def on_this_machine(directory: Path) -> Any:
    """Runs shell commands on this machine."""

    def script(name: str, args: dict[str, Any]) -> Any:
        (directory / args["workdir"]).mkdir(exist_ok=True)
        done = subprocess.run(
            args["command"], cwd=directory / args["workdir"], input=args["initial_stdin"], text=True, check=False,
            capture_output=True, env={"HOME": str(directory / "home"), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        return [("stdout", done.stdout), ("stderr", done.stderr)], done.returncode

    return script


@pytest.mark.parametrize("path", ["key", "deep/er/key", "~/.ssh/key", "absolute"])
async def test_files(tmp_path: Path, path: str) -> None:
    """The files exist for the steps between, for the worker's user only; then they are gone, also after a failure."""
    where = {"~/.ssh/key": tmp_path / "home/.ssh/key", "absolute": tmp_path / "abs"}.get(
        path, tmp_path / "build" / path
    )
    given = str(where) if path == "absolute" else path
    factory = BuildFactory()
    show = steps.ShellCommand(command=["sh", "-c", f"wc -c < {where}; stat -c %a {where}; false"], haltOnFailure=True)
    factory.addSteps([show], withSecrets=[(given, SECRET)])
    made = await harness(*factory.make_steps(), script=on_this_machine(tmp_path))
    build = await made.run()
    names = [step["name"] for step in made.master.steps(build["buildid"])]
    assert names[1:] == ["write secret files", "shell", "remove secret files"] and build["results"] == FAILURE
    kept = "".join(everything(made))
    assert f"o{len(VALUE)}\no600\n" in kept and "s3cr3t" not in kept
    assert not where.exists() and where.parent.exists()
    assert not any("s3cr3t" in str(args["command"]) for _, args in made.connection.started)
    await made.stop()


@pytest.mark.parametrize(("files", "said"), [
    (["key"], "element 1 must be a pair"),
    ([("", "x")], "the path must be a text that is not empty"),
    ([("key", 1)], "the value must be a text or util.Secret, not int"),
])  # fmt: skip
def test_mistakes_with_files(files: Any, said: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors, match=said):
        BuildFactory().addSteps([], withSecrets=files)
