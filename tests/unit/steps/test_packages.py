"""Steps that make and check packages of distributions."""

from __future__ import annotations

import time
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Property
from buildbot.steps.maxq import MaxQ
from buildbot.steps.package.deb.lintian import DebLintian
from buildbot.steps.package.deb.pbuilder import DebCowbuilder, DebPbuilder, UbuCowbuilder, UbuPbuilder
from buildbot.steps.package.rpm import Mock, MockBuildSRPM, MockRebuild, RpmBuild, RpmLint
from buildbot.test.steps import StepHarness
from buildbot.util.results import FAILURE, SUCCESS, WARNINGS


async def run(step: Any, *lines: str, rc: int = 0, stat: Any = None) -> tuple[StepHarness, dict[str, Any]]:
    """Run a step whose program prints lines; its row."""

    def script(name: str, args: dict[str, Any]) -> Any:
        if name == "stat":
            return [("stat", stat)] if stat else [], 0 if stat else 1
        return ([("stdout", "".join(f"{line}\n" for line in lines))], rc if name == "shell" else 0)

    farm = StepHarness(step, script=script)
    await farm.run()
    return farm, farm.master.steps(1)[1]


def commands(farm: StepHarness) -> list[Any]:
    return [args["command"] for name, args in farm.connection.started if name == "shell"]


async def test_rpmbuild() -> None:
    """The command line has the definitions in order; numbers of releases rise."""
    step = RpmBuild(
        specfile="a b.spec",
        topdir="`pwd`/t",
        define={"x": "1; rm -rf /"},
        autoRelease=True,
        vcsRevision=True,
        dist=".el9",
    )
    lines = ["Processing files: a", "other", "Wrote: /a.rpm", "error: bad", "RPM build errors:"]
    farm = StepHarness(step, script=lambda name, args: ([("stdout", "".join(f"{line}\n" for line in lines))], 1))
    await farm.start()
    for _ in range(2):
        await farm.build()
        await farm.ended()
    first, second = commands(farm)
    assert first == (
        'rpmbuild --define "_topdir `pwd`/t" --define "_builddir `pwd`" --define "_rpmdir `pwd`" '
        '--define "_sourcedir `pwd`" --define "_specdir `pwd`" --define "_srcrpmdir `pwd`" '
        "--define 'x 1; rm -rf /' --define '_release 0' --define 'dist .el9' -ba 'a b.spec'"
    )
    assert "--define '_release 1'" in second
    assert farm.master.text(2, "RPM Command Log") == "Processing files: a\nWrote: /a.rpm\n"
    assert farm.master.text(2, "RPM Errors") == "error: bad\nRPM build errors:\n"
    assert farm.master.steps(1)[1]["results"] == FAILURE


async def test_rpmlint() -> None:
    """The arguments give the command line; the exit status is the result."""
    farm, row = await run(RpmLint(fileloc=Property("buildername"), config="c"), "E: x")
    assert commands(farm) == [["rpmlint", "-i", "-f", "c", "b"]] and row["results"] == SUCCESS


async def test_mock() -> None:
    """Old logs are removed, new ones are shown while they are written."""
    farm, row = await run(MockBuildSRPM(root="f", spec="s", resultdir="out"))
    (_, removed), (_, args) = farm.connection.started
    assert removed == {"dir": [f"build/out/{name}.log" for name in ("build", "root", "state")]}
    assert args["command"] == [
        "mock", "--root", "f", "--resultdir", "out", "--buildsrpm", "--spec", "s", "--sources", "."
    ]  # fmt: skip
    assert args["logfiles"] == {f"{name}.log": f"out/{name}.log" for name in ("build", "root", "state")}
    farm, row = await run(Mock(root="f"))
    assert commands(farm) == [["mock", "--root", "f"]] and row["results"] == SUCCESS
    farm, row = await run(MockRebuild(root="f", srpm="s"), rc=1)
    assert commands(farm) == [["mock", "--root", "f", "--rebuild", "s"]] and row["results"] == FAILURE


@pytest.mark.parametrize(
    ("lines", "rc", "results", "logs"),
    [
        (["N: fine"], 0, SUCCESS, []),
        (["W: a", "W: b"], 0, WARNINGS, ["2 Warnings"]),
        (["W: a", "E: b"], 0, FAILURE, ["1 Warnings", "1 Errors"]),
        ([], 2, FAILURE, []),
    ],
)
async def test_lintian(lines: list[str], rc: int, results: int, logs: list[str]) -> None:
    """Warnings and errors have logs of their own; an error fails the step."""
    farm, row = await run(DebLintian(fileloc="a.deb", suppressTags=["x", "y"]), *lines, rc=rc)
    assert commands(farm) == [["lintian", "-v", "a.deb", "--suppress-tags", "x", "--suppress-tags", "y"]]
    assert row["results"] == results
    assert [log["name"] for log in farm.master.get("steps", 2, "logs") if log["name"] != "stdio"] == logs


@pytest.mark.parametrize("age", [None, 0, 100_000])
async def test_pbuilder(age: int | None) -> None:
    """A missing base system is made, and an old one is updated."""
    found = None if age is None else (0o100644, *range(7), time.time() - age, 0)
    step = DebPbuilder(
        architecture="i386", distribution="sid", mirror="m", othermirror=["o", "p"],
        extrapackages=["e", "f"], keyring="k", components="c",
    )  # fmt: skip
    lines = ["x: warning: y", " dpkg-genchanges  >../a_1.0_i386.changes"]
    farm, row = await run(step, *lines, stat=found)
    base = "/var/cache/pbuilder/sid-i386-buildbot.tgz"
    create = [
        "sudo", "/usr/sbin/pbuilder", "--create", "--basetgz", base, "--distribution", "sid", "--mirror", "m",
        "--othermirror", "o|p", "--architecture", "i386", "--extrapackages", "e f", "--debootstrapopts", "--keyring=k",
        "--components", "c",
    ]  # fmt: skip
    update = ["sudo", "/usr/sbin/pbuilder", "--update", "--basetgz", base]
    build = [
        "pdebuild", "--buildresult", ".", "--pbuilder", "/usr/sbin/pbuilder", "--architecture", "i386", "--",
        "--buildresult", ".", "--basetgz", base, "--extrapackages", "e f",
    ]  # fmt: skip
    assert commands(farm) == [*{None: [create], 0: []}.get(age, [update]), build]
    assert row["results"] == WARNINGS
    properties = farm.master.build(1)["properties"]
    assert (properties["deb-changes"][0], properties["warnings-count"][0]) == ("a_1.0_i386.changes", 1)


async def test_base_that_cannot_be_made() -> None:
    """Without a base system the step fails."""
    farm, row = await run(UbuCowbuilder(), rc=1)
    assert (row["results"], row["state_string"]) == (FAILURE, "pbuilder create failed: exit code 1 (failure)")
    ((*_, mirror, components_flag, components),) = [command[-4:] for command in commands(farm)]
    assert (mirror, components_flag, components) == (
        "http://archive.ubuntu.com/ubuntu/",
        "--components",
        "main universe",
    )


async def test_kinds_of_builders() -> None:
    """Each kind calls its own program."""
    for step, program, option, suffix in (
        (DebCowbuilder(), "cowbuilder", "--basepath", ".cow/"),
        (UbuPbuilder(), "pbuilder", "--basetgz", ".tgz"),
    ):
        farm, row = await run(step)
        assert commands(farm)[0][:5] == [
            "sudo", f"/usr/sbin/{program}", "--create", option, f"/var/cache/pbuilder/stable-local-buildbot{suffix}"
        ]  # fmt: skip
        assert row["name"] == program


@pytest.mark.parametrize(
    ("lines", "rc", "text"),
    [
        ([], 0, "success"),
        (["TEST FAILURE: a", "TEST FAILURE: b"], 0, "2 maxq failures (failure)"),
        ([], 1, "1 maxq failures (failure)"),
    ],
)
async def test_maxq(lines: list[str], rc: int, text: str) -> None:
    """Tests that fail are counted."""
    farm, row = await run(MaxQ(testdir="t"), *lines, rc=rc)
    assert commands(farm) == [["run_maxq.py", "t"]] and row["state_string"] == text


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: RpmBuild(), "RpmBuild: argument 'specfile' is missing"),
        (lambda: MockRebuild(root="f"), "MockRebuild: argument 'srpm' is missing"),
        (lambda: DebLintian(fileloc=5), "fileloc must be a text that is not empty, not 5"),
        (lambda: DebPbuilder(extrapackages="a b"), "extrapackages must be a list, not 'a b'"),
        (lambda: MaxQ(testdir="t", command="x"), "invalid MaxQ argument 'command'"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name them."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint in str(caught.value)
