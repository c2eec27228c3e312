"""Steps for workers with Windows."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Property
from buildbot.steps import vstudio
from buildbot.steps.mswin import Robocopy
from buildbot.test.steps import StepHarness
from buildbot.util.results import FAILURE, SUCCESS, WARNINGS


async def run(step: Any, *lines: str, rc: int = 0) -> tuple[StepHarness, dict[str, Any], dict[str, Any]]:
    """Run a step whose program prints lines, many at once; its row, and what the worker was given."""
    output = [("stdout", "".join(f"{line}\n" for line in lines))]
    farm = StepHarness(step, script=lambda name, args: (output, rc))
    await farm.run()
    ((_, args),) = farm.connection.started
    return farm, farm.master.steps(1)[1], args


async def test_output() -> None:
    """Projects, files, warnings and errors are counted line by line, though many lines come at once."""
    lines = [
        "1>------ Rebuild All started: Project: x, Configuration: Release Win32 ------",
        "1>a.cpp", "  b.c", "1>c:\\d\\a.cpp(5): warning C4996: x", "d.cs(7,8): error CS0103: y [p.csproj]",
        "LINK : fatal error LNK1104: z", "2>------ Build started: Project: y ------",
        'Project "p.sln" (1) is building "q.vcxproj" (2) on node 1', "nothing: no warning, no error",
    ]  # fmt: skip
    farm, row, _ = await run(vstudio.VS2010(projectfile="p.sln"), *lines, rc=1)
    assert (row["results"], row["state_string"]) == (
        FAILURE, "compile 3 projects 2 files 1 warnings 2 errors (failure)"
    )  # fmt: skip
    assert [log["name"] for log in farm.master.get("steps", 2, "logs")] == ["warnings", "errors", "stdio"]
    assert farm.master.text(2, "warnings") == f"o{lines[3]}\n"
    assert farm.master.text(2, "errors") == f"e{lines[4]}\ne{lines[5]}\n"
    _, row, _ = await run(vstudio.VS2010(projectfile="p.sln"), lines[3])
    assert (row["results"], row["state_string"]) == (WARNINGS, "compile 0 projects 0 files 1 warnings (warnings)")
    _, row, _ = await run(vstudio.VS2010(projectfile="p.sln"), lines[4])
    assert row["results"] == FAILURE
    farm, row, _ = await run(vstudio.VS2010(projectfile="p.sln"))
    assert (row["results"], row["state_string"]) == (SUCCESS, "compile 0 projects 0 files")


PROGRAMS = "C:\\Program Files\\Microsoft Visual Studio"
X86 = "C:\\Program Files (x86)\\Microsoft Visual Studio"


@pytest.mark.parametrize(
    ("kind", "directory"),
    [
        (vstudio.VC7, f"{PROGRAMS} .NET 2003\\Common7\\IDE"),
        (vstudio.VS2003, f"{PROGRAMS} .NET 2003\\VC7\\BIN"),
        (vstudio.VC8, f"{PROGRAMS} 8\\Common7\\IDE"),
        (vstudio.VS2005, f"{PROGRAMS} 8\\VC\\BIN"),
        (vstudio.VCExpress9, f"{PROGRAMS} 8\\VC\\BIN"),
        (vstudio.VC9, f"{PROGRAMS} 9.0\\VC\\BIN"),
        (vstudio.VS2008, f"{PROGRAMS} 9.0\\VC\\BIN"),
        (vstudio.VC10, f"{PROGRAMS} 10.0\\VC\\BIN"),
        (vstudio.VS2010, f"{PROGRAMS} 10.0\\VC\\BIN"),
        (vstudio.VC11, f"{PROGRAMS} 11.0\\VC\\BIN"),
        (vstudio.VS2012, f"{PROGRAMS} 11.0\\VC\\BIN"),
        (vstudio.VC12, f"{PROGRAMS} 12.0\\VC\\BIN"),
        (vstudio.VS2013, f"{PROGRAMS} 12.0\\VC\\BIN"),
        (vstudio.VC14, f"{X86} 14.0\\VC\\BIN"),
        (vstudio.VS2015, f"{X86} 14.0\\VC\\BIN"),
        (vstudio.VC141, f"{X86}\\2017\\Community\\VC\\BIN"),
        (vstudio.VS2017, f"{X86}\\2017\\Community\\VC\\BIN"),
        (vstudio.VS2019, f"{X86}\\2019\\Community\\VC\\BIN"),
        (vstudio.VS2022, f"{X86}\\2022\\Community\\VC\\BIN"),
    ],
)
async def test_installations(kind: Any, directory: str) -> None:
    """Each version has a default directory."""
    _, row, args = await run(kind(projectfile="p.sln"))
    assert directory in args["env"]["PATH"].split(";") and row["results"] == SUCCESS


@pytest.mark.parametrize(
    ("kind", "script", "versions"),
    [
        (vstudio.MsBuild, "${VS110COMNTOOLS}..\\..\\VC\\vcvarsall.bat", None),
        (vstudio.MsBuild12, "${VS120COMNTOOLS}..\\..\\VC\\vcvarsall.bat", None),
        (vstudio.MsBuild14, "${VS140COMNTOOLS}..\\..\\VC\\vcvarsall.bat", None),
        (vstudio.MsBuild141, "\\VC\\Auxiliary\\Build\\vcvarsall.bat", "[15.0,16.0)"),
        (vstudio.MsBuild15, "\\VC\\Auxiliary\\Build\\vcvarsall.bat", "[15.0,16.0)"),
        (vstudio.MsBuild16, "\\VC\\Auxiliary\\Build\\vcvarsall.bat", "[16.0,17.0)"),
    ],
)
async def test_versions_of_msbuild(kind: Any, script: str, versions: str | None) -> None:
    """Each version sets up its own environment; the newer ones are found by ``vswhere``."""
    _, _, args = await run(kind(projectfile="p.sln", platform="x64"))
    assert args["env"]["VCENV_BAT"] == script
    assert (f'vswhere.exe -version "{versions}"' in args["command"]) == (versions is not None)


@pytest.mark.parametrize(
    ("step", "command"),
    [
        (vstudio.VC6(projectfile="p"), ["msdev", "p", "/MAKE", "ALL - release", "/REBUILD"]),
        (
            vstudio.VC6(projectfile="p", project="x", mode="clean", config="debug", useenv=True),
            ["msdev", "p", "/MAKE", "x - debug", "/CLEAN", "/USEENV"],
        ),
        (vstudio.VC7(projectfile="p", mode="build"), ["devenv.com", "p", "/Build", "release"]),
        (
            vstudio.VS2022(projectfile=Property("buildername"), project="x", LIB=["l"]),
            ["devenv.com", "b", "/Rebuild", "release", "/Project", "x", "/UseEnv"],
        ),
        (vstudio.VCExpress9(projectfile="p", LIB=["l"], useenv=False), ["vcexpress", "p", "/Rebuild", "release"]),
        (
            vstudio.MsBuild4(projectfile="p", platform="Win32"),
            '"%VCENV_BAT%" x86 && msbuild "p" /p:Configuration="release" /p:Platform="Win32" /maxcpucount /t:Rebuild',
        ),
        (
            vstudio.MsBuild14(projectfile="p", platform="Any CPU", project="x", mode="build", config="d e"),
            '"%VCENV_BAT%" x86 && msbuild "p" /p:Configuration="d e" /p:Platform="Any CPU" /maxcpucount /t:"x"',
        ),
        (
            vstudio.MsBuild17(
                projectfile="p",
                platform="x64",
                project="x",
                mode="clean",
                defines=["a", "b=1"],
                properties={"k": "v w"},
            ),
            'FOR /F "tokens=*" %I in '
            "('vswhere.exe -version \"[17.0,18.0)\" -products * -property installationPath') do "
            '"%I%VCENV_BAT%" x86 && msbuild "p" /p:Configuration="release" /p:Platform="x64" /maxcpucount /t:"x:Clean" '
            '/p:DefineConstants="a;b=1" /p:k="v w"',
        ),
    ],
)
async def test_commands(step: Any, command: Any) -> None:
    """The command line of each version."""
    _, _, args = await run(step)
    assert args["command"] == command


async def test_environment() -> None:
    """The given directories come before those of the installation in the environment."""
    _, _, args = await run(
        vstudio.VS2005(projectfile="p", arch="x64", installdir="D:\\VS", INCLUDE=["i"], env={"A": "1"})
    )
    assert args["env"] == {
        "A": "1",
        "PATH": "D:\\VS\\Common7\\IDE;D:\\VS\\VC\\BIN\\x86_amd64;D:\\VS\\VC\\BIN;D:\\VS\\Common7\\Tools;"
        "D:\\VS\\Common7\\Tools\\bin;D:\\VS\\VC\\PlatformSDK\\bin;D:\\VS\\SDK\\v2.0\\bin;D:\\VS\\VC\\VCPackages;${PATH};",
        "INCLUDE": "i;D:\\VS\\VC\\INCLUDE;D:\\VS\\VC\\ATLMFC\\include;D:\\VS\\VC\\PlatformSDK\\include;",
        "LIB": "D:\\VS\\VC\\LIB\\amd64;D:\\VS\\VC\\ATLMFC\\LIB\\amd64;D:\\VS\\VC\\PlatformSDK\\lib\\amd64;"
        "D:\\VS\\SDK\\v2.0\\lib\\amd64;",
    }
    _, _, args = await run(vstudio.VC7(projectfile="p"))
    root = "C:\\Program Files\\Microsoft Visual Studio .NET 2003"
    assert args["env"]["LIB"].startswith(f"{root}\\VC7\\LIB;") and args["env"]["LIB"].endswith(
        f"{root}\\SDK\\v1.1\\lib;"
    )
    _, _, args = await run(vstudio.MsBuild12(projectfile="p", platform="x64"))
    assert args["env"] == {"VCENV_BAT": "${VS120COMNTOOLS}..\\..\\VC\\vcvarsall.bat"}
    _, _, args = await run(vstudio.MsBuild16(projectfile="p", platform="x64"))
    assert args["env"]["PATH"].endswith("Installer\\;${PATH};")


async def test_summary_of_msbuild() -> None:
    """The texts of older versions name the project and the configuration."""
    _, row, _ = await run(vstudio.MsBuild(projectfile="p", platform="x64"))
    assert row["state_string"] == "built solution for release|x64"
    _, row, _ = await run(vstudio.MsBuild(projectfile="p", platform="x64", project="x"), rc=1)
    assert row["state_string"] == "built project x for release|x64 (failure)"
    _, row, _ = await run(vstudio.MsBuild(projectfile="p", platform="x64", descriptionDone="mine"))
    assert row["state_string"] == "mine"


@pytest.mark.parametrize(("rc", "results"), [(0, SUCCESS), (1, SUCCESS), (2, WARNINGS), (7, WARNINGS), (8, FAILURE)])
async def test_robocopy(rc: int, results: int) -> None:
    """The command line, and the results by exit code."""
    step = Robocopy(
        source="a", destination=Property("buildername"), files=["*.c"], recursive=True, mirror=True, move=True,
        exclude_files=["x"], exclude_dirs=["y", "z"], custom_opts=["/R:1"], verbose=True,
    )  # fmt: skip
    _, row, args = await run(step, rc=rc)
    assert row["results"] == results
    assert args["command"] == [
        "robocopy", "a", "b", "*.c", "/E", "/MIR", "/MOVE", "/XF", "x", "/XD", "y", "z", "/V", "/TS", "/FP", "/R:1",
        "/TEE", "/NP",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: vstudio.VC10(), "VC10: argument 'projectfile' is missing"),
        (lambda: vstudio.VC10(projectfile='p" & del'), "projectfile must be one line without quotes"),
        (lambda: vstudio.VC10(projectfile="p", mode="make"), "mode must be one of 'build', 'clean', 'rebuild'"),
        (lambda: vstudio.VC10(projectfile="p", arch="arm"), "arch must be one of 'x86', 'x64', not 'arm'"),
        (lambda: vstudio.MsBuild17(projectfile="p"), "MsBuild141: argument 'platform' is missing"),
        (lambda: Robocopy(source="a"), "Robocopy: argument 'destination' is missing"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name them."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint.replace("MsBuild141", "MsBuild17") in str(caught.value)
