"""Steps that build with Visual Studio and MSBuild, on Windows workers."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.logobserver import LogLineObserver
from buildbot.process.logs import Log
from buildbot.process.step import described
from buildbot.steps.program import ProgramStep
from buildbot.util.results import FAILURE, WARNINGS, worst_status

MODES = ("build", "clean", "rebuild")

_PROJECT = re.compile(r"(?:\d+>)?(?:-{5,}|\s*Project \".*\" \(.*\) is building )", re.I)
_STARTED = re.compile(r"(?:\d+>)?-{5,}\s*(?:(?:Skipped )?(?:Re)?build.*started|Configuration:|Clean.*started)", re.I)
_FILE = re.compile(r"(?:\d+>)?\s*[\w.+-]+\.(?:c|cc|cpp|cxx|c\+\+|cu|ixx)\s*\Z", re.I)
_WARNING = re.compile(r".*?: (?:\w+ )?warning(?: [A-Z]+\d+)? ?:", re.I)
_ERROR = re.compile(r".*?: (?:fatal |\w+ )?error(?: [A-Z]+\d+)? ?:", re.I)
_INSTALLERS = (
    "C:\\Program Files (x86)\\Microsoft Visual Studio\\Installer\\;"
    "C:\\Program Files\\Microsoft Visual Studio\\Installer\\;${PATH};"
)


def _plain(value: Any) -> str:
    """Check a text that is put between quotes on a command line."""
    if re.search(r"[\"\r\n\0]", checks.name(value)):
        raise ValueError(f"must be one line without quotes, not {checks.kind(value)}")
    return str(value)


class VisualStudio(ProgramStep):
    """The base of the steps for Visual Studio: they count projects, files, warnings and errors."""

    name = "compile"
    progressMetrics = ("projects", "files", "warnings")
    default_installdir = ""
    projectfile = argument(REQUIRED, _plain, rendered=True, doc="the solution or project")
    config = argument("release", _plain, rendered=True, doc="the configuration")
    mode = argument("rebuild", checks.one_of(*MODES), rendered=True, doc=f"one of {', '.join(MODES)}")
    project = argument(None, checks.optional(_plain), rendered=True, doc="one project of the solution; None: all")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.__output = _Output(self)
        self.addLogObserver("stdio", self.__output)

    async def run(self) -> int:
        """Run the command; errors fail the step, warnings make it end with WARNINGS."""
        self.env = {**self.build_environment(), **(self.env or {})}
        self.command = self.build_command()
        output = self.__output
        output.warnings_log, output.errors_log = await self.addLog("warnings"), await self.addLog("errors")
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        for name, number in output.counts.items():
            self.setStatistic(name, number)
        results = ran.results()
        if output.counts["errors"]:
            return worst_status(results, FAILURE)
        return worst_status(results, WARNINGS) if output.counts["warnings"] else results

    def build_environment(self) -> dict[str, str]:
        """Environment variables that the tools need; the step's ``env`` overwrites them."""
        return {}

    def build_command(self) -> Any:
        """The command: a text for the worker's shell, or a list of arguments."""
        raise NotImplementedError(f"{type(self).__name__} has no build_command()")

    def getCurrentSummary(self) -> Any:
        """The description, or "compiling"."""
        return {"step": self.describe(self.description, "compiling")}

    def getResultSummary(self) -> Any:
        """The numbers of projects, files, warnings and errors."""
        counts = self.__output.counts
        words = [f"{counts[each]} {each}" for each in ("projects", "files")]
        words += [f"{counts[each]} {each}" for each in ("warnings", "errors") if counts[each]]
        return self.summary_of_result(" ".join(["compile", *words]))


class _Output(LogLineObserver):
    """Counts projects, files, warnings and errors in the output, and logs the latter two."""

    def __init__(self, step: VisualStudio) -> None:
        self.counts = dict.fromkeys(("projects", "files", "warnings", "errors"), 0)
        self.warnings_log: Log | None = None
        self.errors_log: Log | None = None
        self._building = step

    def outLineReceived(self, line: str) -> None:
        kind = _kind(line)
        if kind is None:
            return
        self.counts[kind] += 1
        if kind in self._building.progressMetrics:
            self._building.setProgress(kind, self.counts[kind])
        if kind == "warnings" and self.warnings_log is not None:
            self.warnings_log.addStdout(f"{line}\n")
        elif kind == "errors" and self.errors_log is not None:
            self.errors_log.addStderr(f"{line}\n")

    errLineReceived = outLineReceived


def _kind(line: str) -> str | None:
    """The counter of a line: ``projects``, ``files``, ``warnings`` or ``errors``; None: it is none of these."""
    if len(line) > 10_000:
        return None
    if _ERROR.match(line):
        return "errors"
    if _WARNING.match(line):
        return "warnings"
    if _STARTED.match(line) or (_PROJECT.match(line) and "is building" in line):
        return "projects"
    return "files" if _FILE.match(line) else None


class InstalledVisualStudio(VisualStudio):
    """The base of steps that run an installed Visual Studio, with its directories in the environment."""

    installdir = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="the directory of the installation; None: the default of Visual Studio's installer",
    )
    useenv = argument(
        None,
        checks.optional(checks.flag),
        rendered=True,
        doc="give `/UseEnv`; None: if `INCLUDE`, `LIB` or `PATH` is given",
    )
    INCLUDE = argument(
        (), checks.list_of(checks.text), rendered=True, doc="directories of headers, before the compiler's own"
    )
    LIB = argument((), checks.list_of(checks.text), rendered=True, doc="directories of libraries, before its own")
    PATH = argument((), checks.list_of(checks.text), rendered=True, doc="directories of programs, before its own")
    program: ClassVar[str] = "devenv.com"

    def directories(self) -> dict[str, list[str]]:
        """The directories of the installation, relative to it, by environment variable."""
        raise NotImplementedError

    def build_environment(self) -> dict[str, str]:
        """The values of PATH, INCLUDE and LIB."""
        root = self.installdir or self.default_installdir
        given = {"PATH": self.PATH, "INCLUDE": self.INCLUDE, "LIB": self.LIB}
        env = {}
        for name, own in self.directories().items():
            known = [each if each.startswith("$") else f"{root}\\{each}" for each in own]
            env[name] = "".join(f"{each};" for each in [*given[name], *known])
        return env

    @property
    def takes_environment(self) -> bool:
        """Whether the program gets ``/UseEnv``."""
        return bool(self.PATH or self.INCLUDE or self.LIB) if self.useenv is None else bool(self.useenv)

    def build_command(self) -> list[str]:
        """The command line of the program."""
        command = [self.program, self.projectfile, f"/{self.mode.capitalize()}", self.config]
        command += ["/Project", self.project] if self.project else []
        return [*command, "/UseEnv"] if self.takes_environment else command


class VC6(InstalledVisualStudio):
    """Build with Visual C++ 6."""

    default_installdir = "C:\\Program Files\\Microsoft Visual Studio"

    def directories(self) -> dict[str, list[str]]:
        """The directories of Visual C++ 6."""
        return {
            "PATH": ["Common\\msdev98\\BIN", "VC98\\BIN", "Common\\TOOLS\\WINNT", "Common\\TOOLS"],
            "INCLUDE": ["VC98\\INCLUDE", "VC98\\ATL\\INCLUDE", "VC98\\MFC\\INCLUDE"],
            "LIB": ["VC98\\LIB", "VC98\\MFC\\LIB"],
        }

    def build_command(self) -> list[str]:
        """The command line of the program."""
        what = f"{self.project or 'ALL'} - {self.config}"
        command = ["msdev", self.projectfile, "/MAKE", what, f"/{self.mode.upper()}"]
        return [*command, "/USEENV"] if self.takes_environment else command


class VC7(InstalledVisualStudio):
    """Build with Visual Studio .NET 2003."""

    default_installdir = "C:\\Program Files\\Microsoft Visual Studio .NET 2003"

    def directories(self) -> dict[str, list[str]]:
        """The directories of Visual Studio .NET 2003."""
        return {
            "PATH": ["Common7\\IDE", "VC7\\BIN", "Common7\\Tools", "Common7\\Tools\\bin"],
            "INCLUDE": ["VC7\\INCLUDE", "VC7\\ATLMFC\\INCLUDE", "VC7\\PlatformSDK\\include", "SDK\\v1.1\\include"],
            "LIB": ["VC7\\LIB", "VC7\\ATLMFC\\LIB", "VC7\\PlatformSDK\\lib", "SDK\\v1.1\\lib"],
        }


class VC8(InstalledVisualStudio):
    """Build with Visual Studio 2005."""

    default_installdir = "C:\\Program Files\\Microsoft Visual Studio 8"
    arch = argument(
        "x86", checks.one_of("x86", "x64"), rendered=True, doc="the architecture to build for, `x86` or `x64`"
    )

    def directories(self) -> dict[str, list[str]]:
        """The directories of Visual Studio 2005 and later."""
        wide = self.arch == "x64"
        libraries = ["VC\\LIB", "VC\\ATLMFC\\LIB", "VC\\PlatformSDK\\lib", "SDK\\v2.0\\lib"]
        return {
            "PATH": [
                "Common7\\IDE",
                *(["VC\\BIN\\x86_amd64"] if wide else []),
                "VC\\BIN",
                "Common7\\Tools",
                "Common7\\Tools\\bin",
                "VC\\PlatformSDK\\bin",
                "SDK\\v2.0\\bin",
                "VC\\VCPackages",
                "${PATH}",
            ],
            "INCLUDE": ["VC\\INCLUDE", "VC\\ATLMFC\\include", "VC\\PlatformSDK\\include"],
            "LIB": [f"{each}\\amd64" if wide else each for each in libraries],
        }


class VCExpress9(VC8):
    """Build with Visual C++ 2008 Express."""

    program = "vcexpress"


class VC9(VC8):
    """Build with Visual Studio 2008."""

    default_installdir = "C:\\Program Files\\Microsoft Visual Studio 9.0"


class VC10(VC9):
    """Build with Visual Studio 2010."""

    default_installdir = "C:\\Program Files\\Microsoft Visual Studio 10.0"


class VC11(VC10):
    """Build with Visual Studio 2012."""

    default_installdir = "C:\\Program Files\\Microsoft Visual Studio 11.0"


class VC12(VC11):
    """Build with Visual Studio 2013."""

    default_installdir = "C:\\Program Files\\Microsoft Visual Studio 12.0"


class VC14(VC12):
    """Build with Visual Studio 2015."""

    default_installdir = "C:\\Program Files (x86)\\Microsoft Visual Studio 14.0"


class VC141(VC14):
    """Build with Visual Studio 2017."""

    default_installdir = "C:\\Program Files (x86)\\Microsoft Visual Studio\\2017\\Community"


VS2003, VS2005, VS2008, VS2010, VS2012, VS2013, VS2015, VS2017 = VC7, VC8, VC9, VC10, VC11, VC12, VC14, VC141


class VS2019(VC141):
    """Build with Visual Studio 2019."""

    default_installdir = "C:\\Program Files (x86)\\Microsoft Visual Studio\\2019\\Community"


class VS2022(VC141):
    """Build with Visual Studio 2022."""

    default_installdir = "C:\\Program Files (x86)\\Microsoft Visual Studio\\2022\\Community"


class MsBuildStep(VisualStudio):
    """The base of steps that run ``msbuild``."""

    platform = argument(REQUIRED, _plain, rendered=True, doc="the platform to build for, such as `x64` or `Any CPU`")
    defines = argument(
        None, checks.optional(checks.list_of(_plain)), rendered=True, doc="constants that the compiler defines"
    )
    properties = argument(None, checks.optional(checks.mapping), rendered=True, doc="properties of MSBuild, by name")
    vcenv_bat: ClassVar[str] = ""

    def msbuild(self) -> str:
        """The command line of ``msbuild``."""
        words = [f'msbuild "{self.projectfile}" /p:Configuration="{self.config}"']
        words.append(f'/p:Platform="{self.platform}" /maxcpucount')
        if self.project:
            suffix = "" if self.mode == "build" else f":{self.mode.capitalize()}"
            words.append(f'/t:"{self.project}{suffix}"')
        else:
            words.append(f"/t:{self.mode.capitalize()}")
        if self.defines:
            words.append(f'/p:DefineConstants="{";".join(self.defines)}"')
        words += [f'/p:{_plain(name)}="{_plain(str(value))}"' for name, value in (self.properties or {}).items()]
        return " ".join(words)

    def build_environment(self) -> dict[str, str]:
        """VCENV_BAT: the path of the script that sets the other variables."""
        return {"VCENV_BAT": self.vcenv_bat}

    def build_command(self) -> str:
        """The script, then ``msbuild``."""
        return f'"%VCENV_BAT%" x86 && {self.msbuild()}'


class MsBuild4(MsBuildStep):
    """Build with MSBuild of Visual Studio 2012."""

    vcenv_bat = "${VS110COMNTOOLS}..\\..\\VC\\vcvarsall.bat"

    def getResultSummary(self) -> Any:
        """The description, or the project and configuration; and the result."""
        if described(self.descriptionDone) or described(self.description):
            return super().getResultSummary()
        what = f"project {self.project}" if self.project else "solution"
        return self.summary_of_result(f"built {what} for {self.config}|{self.platform}")

    def getCurrentSummary(self) -> Any:
        """The description, or the project and configuration."""
        what = f"project {self.project}" if self.project else "solution"
        return {"step": self.describe(self.description, f"building {what} for {self.config}|{self.platform}")}


MsBuild = MsBuild4


class MsBuild12(MsBuild4):
    """Build with MSBuild of Visual Studio 2013."""

    vcenv_bat = "${VS120COMNTOOLS}..\\..\\VC\\vcvarsall.bat"


class MsBuild14(MsBuild4):
    """Build with MSBuild of Visual Studio 2015."""

    vcenv_bat = "${VS140COMNTOOLS}..\\..\\VC\\vcvarsall.bat"


class MsBuild141(MsBuildStep):
    """Build with MSBuild of Visual Studio 2017, which ``vswhere.exe`` finds."""

    vcenv_bat = "\\VC\\Auxiliary\\Build\\vcvarsall.bat"
    version_range: ClassVar[str] = "[15.0,16.0)"

    def build_environment(self) -> dict[str, str]:
        """VCENV_BAT, relative to the installation, and a PATH with ``vswhere.exe``."""
        return {**super().build_environment(), "PATH": _INSTALLERS}

    def build_command(self) -> str:
        """Find the installation, run its script, then ``msbuild``."""
        found = f'vswhere.exe -version "{self.version_range}" -products * -property installationPath'
        return f'FOR /F "tokens=*" %I in (\'{found}\') do "%I%VCENV_BAT%" x86 && {self.msbuild()}'


MsBuild15 = MsBuild141


class MsBuild16(MsBuild141):
    """Build with MSBuild of Visual Studio 2019."""

    version_range = "[16.0,17.0)"


class MsBuild17(MsBuild141):
    """Build with MSBuild of Visual Studio 2022."""

    version_range = "[17.0,18.0)"
