"""A step that syncs the Git repositories of a manifest to the worker, with Android's tool `repo`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.rendering import Renderable
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import Patch, Source, address, hidden_password
from buildbot.util.results import SUCCESS

#: compression options of `tar`, by the suffix of the archive's name
_TAR = {".tgz": "-z", ".gz": "-z", ".bz2": "-j", ".lzma": "--lzma", ".lzop": "--lzop", ".xz": "-J", ".zst": "--zstd"}
#: a shell command that undoes changes of a build, or of a sync that was killed, in a project
_CLEAN = (
    "git am --abort 2>/dev/null; git rebase --abort 2>/dev/null; git cherry-pick --abort 2>/dev/null; "
    "git reset -q --hard && git clean -q -ffdx"
)
_DOWNLOAD = re.compile(r"(?:repo download )?(?P<project>[^\s-][^\s]*?)[ /](?P<change>\d+/\d+)\Z")


class DownloadsFromChangeSource(Renderable):
    """A renderable with the Gerrit patch sets among the build's changes, for the argument ``repoDownloads``.

    Args:
        codebase: only those of this codebase; None: of all.
    """

    def __init__(self, codebase: str | None = None) -> None:
        self.codebase = codebase

    def __repr__(self) -> str:
        return f"DownloadsFromChangeSource({self.codebase!r})"

    def getRenderingFor(self, props: Any) -> list[str]:
        """``PROJECT CHANGE/PATCH-SET`` of each such change."""
        changes = [
            {name: pair[0] for name, pair in change["properties"].items()}
            for change in props.getBuild().allChanges()
            if self.codebase is None or change["codebase"] == self.codebase
        ]
        return [
            f"{each['event.change.project']} {each['event.change.number']}/{each['event.patchSet.number']}"
            for each in changes
            if each.get("event.type") == "patchset-created"
        ]


class DownloadsFromProperties(Renderable):
    """A renderable with the Gerrit patch sets that properties name, for the argument ``repoDownloads``.

    Args:
        names: of the properties; a value is ``PROJECT CHANGE/PATCH-SET``, with ``repo download`` before it or not, and
            may have several lines.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    def __repr__(self) -> str:
        return f"DownloadsFromProperties({self.names!r})"

    def getRenderingFor(self, props: Any) -> list[str]:
        """``PROJECT CHANGE/PATCH-SET`` of each line; other lines are ignored."""
        lines = [line.strip() for name in self.names for line in str(props.getProperty(name) or "").splitlines()]
        return [f"{found['project']} {found['change']}" for found in map(_DOWNLOAD.match, lines) if found]


#: the names by which configurations import them
RepoDownloadsFromChangeSource = DownloadsFromChangeSource
RepoDownloadsFromProperties = DownloadsFromProperties


class Repo(Source):
    """Sync the repositories of a manifest. There is no revision of all of them, so ``got_revision`` is not set.

    The file ``manifest-original.xml`` has the manifest with the revisions that were synced.
    """

    name = "repo"
    program = ("repo",)
    positional: ClassVar[tuple[str, ...]] = (
        "manifestURL",
        "manifestBranch",
        "manifestFile",
        "tarball",
        "jobs",
        "syncAllBranches",
        "updateTarballAge",
        "manifestOverrideUrl",
        "repoDownloads",
        "depth",
        "submodules",
        "syncQuietly",
    )
    manifestURL = argument(REQUIRED, address, rendered=True, doc="the repository of the manifest")
    manifestBranch = argument("master", checks.name, rendered=True, doc="its branch")
    manifestFile = argument("default.xml", checks.name, rendered=True, doc="the manifest in it")
    manifestOverrideUrl = argument(
        None,
        checks.optional(checks.name),
        rendered=True,
        doc="a manifest to sync instead: a file on the worker, or a URL, which the worker's `wget` fetches",
    )
    tarball = argument(
        None,
        checks.optional(checks.name),
        rendered=True,
        doc="an archive of `.repo` on the worker, which a new directory begins with",
    )
    updateTarballAge = argument(
        7 * 24 * 3600.0,
        checks.optional(checks.number()),
        rendered=True,
        doc="age in seconds at which the archive is made anew; None: never",
    )
    jobs = argument(
        None,
        checks.optional(checks.whole_number(1)),
        rendered=True,
        doc="the number of projects that are synced at a time",
    )
    syncAllBranches = argument(False, checks.flag, rendered=True, doc="fetch all branches of the projects")
    syncQuietly = argument(False, checks.flag, rendered=True, doc="give `repo sync` the option `-q`")
    repoDownloads = argument(
        None,
        checks.optional(checks.list_of(checks.text)),
        rendered=True,
        doc="""patch sets of Gerrit to apply: `["PROJECT CHANGE/PATCH-SET"]`, `util.repo.DownloadsFromChangeSource()` or
        `util.repo.DownloadsFromProperties(names)`""",
    )
    depth = argument(
        0, checks.optional(checks.whole_number()), rendered=True, doc="the number of commits to fetch; 0: all"
    )
    submodules = argument(False, checks.flag, rendered=True, doc="sync the manifest's submodules, too")

    def is_grave(self, line: str) -> bool:
        """Whether a line is the reason of a failure, of repo or of git."""
        return line.startswith(("error:", "fatal:"))

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Sync."""
        directory = self.directory()
        if not await self.pathExists(f"{directory}/.repo"):
            await self.runRmdir(directory, self.timeout)
            await self.runMkdir(directory)
            await self.__unpack()
        depth = ["--depth", str(self.depth)] if self.depth else []
        submodules = ["--submodules"] if self.submodules else []
        where = ("-u", hidden_password(self.manifestURL), "-b", self.manifestBranch, "-m", self.manifestFile)
        await self.vc("forall", "-c", _CLEAN, check=False)
        await self.retried(lambda: self.vc("init", *where, *depth, *submodules))
        await self.__override()
        jobs = [f"-j{self.jobs}"] if self.jobs else []
        current = [] if self.syncAllBranches else ["-c"]
        quiet = ["-q"] if self.syncQuietly else []
        await self.retried(lambda: self.vc("sync", "--force-sync", *jobs, *current, *quiet))
        await self.vc("manifest", "-r", "-o", "manifest-original.xml")
        await self.__download()
        await self.__pack()
        await self.apply_patch(patch)
        return SUCCESS

    async def __shell(self, *words: str, directory: str | None = None, stdin: str | None = None) -> RemoteShellCommand:
        """Run another program than repo."""
        command = RemoteShellCommand(
            self.directory() if directory is None else directory,
            list(words),
            env=await self.command_environment(self.env),
            timeout=self.timeout,
            logEnviron=False,
            initialStdin=stdin,
            collectStdout=True,
            collectStderr=True,
        )
        await self.runCommand(command)
        return command

    async def __must(self, *words: str, directory: str | None = None, stdin: str | None = None) -> None:
        command = await self.__shell(*words, directory=directory, stdin=stdin)
        if command.didFail():
            said = (command.stderr.strip() or f"exit status {command.rc}").splitlines()[-1]
            raise BuildStepFailed(self.without_secrets(f"{words[0]}: {said}"))

    def __tar(self, *words: str) -> list[str]:
        end = next((end for end in _TAR if str(self.tarball).endswith(end)), None)
        return ["tar", *([_TAR[end]] if end else []), *words]

    async def __unpack(self) -> None:
        """Unpack the archive, if there is one; a damaged one is ignored."""
        if self.tarball is not None:
            unpacked = await self.__shell(*self.__tar("-xvf", self.tarball))
            if unpacked.didFail():
                await self.runRmdir(f"{self.directory()}/.repo", self.timeout)

    async def __pack(self) -> None:
        """Make the archive anew, if it is old or missing."""
        if self.tarball is None or self.updateTarballAge is None:
            return
        age = await self.__shell("stat", "-c%Y", self.tarball)
        made_at = int(age.stdout.strip()) if not age.didFail() and age.stdout.strip().isdigit() else 0
        if self.master.wall_seconds() - made_at > self.updateTarballAge:
            await self.__must(*self.__tar("-cvf", self.tarball, ".repo"))

    async def __override(self) -> None:
        """Replace the manifest by that of ``manifestOverrideUrl``."""
        override = self.manifestOverrideUrl
        if override is None:
            return
        if "://" in override:
            # from its input, since other users can read arguments
            await self.__must("wget", "-O", "manifest_override.xml", "-i", "-", stdin=f"{override}\n")
        else:
            await self.__must("cp", "-f", override, "manifest_override.xml")
        await self.__must(
            "ln", "-sf", "../manifest_override.xml", "manifest.xml", directory=f"{self.directory()}/.repo"
        )

    async def __download(self) -> None:
        """Apply the patch sets of ``repoDownloads``, and set the property ``repo_downloaded`` to them."""
        wanted = list(self.repoDownloads or ())
        for each in wanted:
            if not _DOWNLOAD.match(each):
                raise BuildStepFailed(f"repoDownloads: not a project and a patch set, as in 'project 12/3': {each!r}")
        for each in wanted:
            await self.vc("download", *each.removeprefix("repo download ").split())
        if wanted:
            self.setProperty("repo_downloaded", " ".join(wanted), type(self).__name__)

    def getResultSummary(self) -> dict[str, str]:
        """The description or "update", and the applied patch sets."""
        summary = super().getResultSummary()
        downloaded = ", ".join(self.repoDownloads or ()) if self.rendered and self.results == SUCCESS else ""
        return {name: f"{text}: {downloaded}" if downloaded else text for name, text in summary.items()}
