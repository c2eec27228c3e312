"""Check out a Git repository on the worker."""

from __future__ import annotations

import glob
import ntpath
import posixpath
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import Patch, Source, address, method_of, spellings
from buildbot.steps.source.gitfetch import GitFetch
from buildbot.steps.source.gitstep import GitServerStep
from buildbot.steps.source.gitwrite import GitCommit, GitPush, GitTag
from buildbot.util.deferreds import deferred
from buildbot.util.results import SUCCESS
from buildbot.util.urls import without_password

__all__ = ["Git", "GitCommit", "GitPush", "GitTag"]

#: how git complains of a submodule's repository that is there, but not whole
_DAMAGED = ("not a git repository", "could not get a repository handle")

#: arguments of ``git describe`` by their name in ``getDescription``: flags, then those with a value of its own word,
#: then those with a value behind ``=``
_DESCRIBE_FLAGS = ("all", "always", "contains", "debug", "long", "exact-match", "first-parent", "tags", "dirty")
_DESCRIBE_WORDS = ("match", "exclude")
_DESCRIBE_VALUES = ("abbrev", "candidates", "dirty")

_REMOTE = re.compile(r"[\w][\w.-]*\Z")


def _depth(value: Any) -> int | None:
    if value is not None and not (isinstance(value, int) and value >= 0):
        raise ValueError(f"must be True, False or a number of commits, not {checks.kind(value)}")
    return value


def _remote(value: Any) -> str:
    if not isinstance(value, str) or not _REMOTE.match(value):
        raise ValueError(f"must be a name of letters, digits, '.', '_' and '-', not {checks.kind(value)}")
    return value


def _description(value: Any) -> Any:
    if not isinstance(value, (bool, dict)):
        raise ValueError(f"must be True, False or a dictionary, not {checks.kind(value)}")
    known = {*_DESCRIBE_FLAGS, *_DESCRIBE_WORDS, *_DESCRIBE_VALUES}
    for name in value if isinstance(value, dict) else ():
        if name not in known:
            raise ValueError(f"has no {name!r}; it has {', '.join(sorted(known))}")
    return value


class Git(GitServerStep, Source):
    """Check out the revision of the build's source stamp, or the newest of its branch, and set ``got_revision``.

    The directory is made into a repository and fetched into, in any state that an interrupted build left. A local
    branch with the name of the source stamp's begins at the commit, for steps that commit and push. A revision that is
    on no branch any more is found as long as the server still gives it out.
    """

    name = "git"
    positional: ClassVar[tuple[str, ...]] = (
        "repourl",
        "port",
        "branch",
        "mode",
        "method",
        "reference",
        "submodules",
        "remoteSubmodules",
        "tags",
        "shallow",
        "filters",
        "progress",
        "retryFetch",
        "clobberOnFailure",
        "getDescription",
        "config",
        "origin",
        "sshPrivateKey",
        "sshHostKey",
        "sshKnownHosts",
        "auth_credentials",
        "git_credentials",
    )
    repourl = argument(REQUIRED, address, rendered=True, doc="where to fetch from")
    branch = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="used if the source stamp has none; None: what the repository's HEAD says",
    )
    method = method_of("clobber", "fresh", "clean", "copy", default="fresh")
    shallow = argument(False, _depth, rendered=True, doc="fetch one commit only, or this number of them")
    filters = argument(
        None,
        checks.optional(checks.list_of(checks.name)),
        rendered=True,
        doc="leave out what `git fetch --filter` says (`['blob:none']`) until it is needed",
    )
    reference = argument(
        None,
        checks.optional(checks.name),
        rendered=True,
        doc="a repository on the worker to take objects from rather than from the server; relative to the workdir",
    )
    origin = argument(
        None, checks.optional(_remote), rendered=True, doc="the name of the server in the repository; None: `origin`"
    )
    submodules = argument(False, checks.flag, rendered=True, doc="check them out too")
    remoteSubmodules = argument(
        False,
        checks.flag,
        rendered=True,
        doc="check out the newest of their branches instead of the commits that the repository names",
    )
    tags = argument(
        False,
        checks.flag,
        rendered=True,
        doc="fetch all tags also where `shallow` is set; without it they are always fetched",
    )
    progress: Any = argument(
        True,
        checks.flag,
        rendered=True,
        doc="have git report its progress, so that a long fetch does not run into `timeout`",
    )
    retryFetch = argument(False, checks.flag, rendered=True, doc="try once more, at once, when fetching fails")
    clobberOnFailure = argument(
        False, checks.flag, rendered=True, doc="if all else fails, remove the directory and start anew"
    )
    getDescription = argument(
        False,
        _description,
        rendered=True,
        doc="""set the property `commit-description` (with `-CODEBASE` behind it if there is one) to what `git describe`
        says; True, or a dictionary of its arguments: `{"tags": True, "match": "v*"}`""",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__directory = self.__how = ""

    def vc_directory(self) -> str:
        """Where it is checked out, before a copy is made."""
        return self.__directory or super().vc_directory()

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out."""
        self.__how = (self.method or "fresh") if self.mode == "full" else "incremental"
        workdir = self.directory()
        self.__directory = "source" if self.__how == "copy" else workdir
        wanted = branch or self.branch or "HEAD"
        for word in filter(None, (wanted, revision)):
            if word.startswith("-"):
                raise BuildStepFailed(f"not the name of a branch or revision: {word!r}")
        async with await self.login():
            if self.__how == "clobber":
                await self.runRmdir(workdir, self.timeout)
            try:
                await self.__update(wanted, revision)
            except BuildStepFailed:
                if not self.clobberOnFailure or self.__how == "clobber":
                    raise
                await self.runRmdir(self.__directory, self.timeout)
                await self.__update(wanted, revision)
            await self.apply_patch(patch)
        if self.__how == "copy":
            await self.runRmdir(workdir, self.timeout)
            await self.runRemoteCommand(
                "cpdir", {"fromdir": "source", "todir": workdir, "logEnviron": False, "timeout": self.timeout}
            )
        return SUCCESS

    async def __update(self, branch: str, revision: str | None) -> None:
        """Bring the directory to the wanted revision."""
        await self.__remove_locks()
        await self.vc("init", "-q")
        remote = self.origin or "origin"
        await self.vc("config", f"remote.{remote}.url", self.shown_url())
        if self.reference:
            await self.__use_reference(self.reference)
        found = await self.__fetching(remote).find(branch, revision)
        await self.__clean()  # what lies in the way
        await self.vc("checkout", "-q", "-f", "--detach", found, "--")
        await self.__clean()  # what the other revision left
        if branch != "HEAD" and not branch.startswith("refs/"):
            await self.__begin_branch(branch)
        if self.submodules:
            await self.__update_submodules()
        head = await self.vc("rev-parse", "HEAD")
        self.set_revision(head.stdout.strip())
        await self.__describe()

    def __fetching(self, remote: str) -> GitFetch:
        progress = ["--progress"] if self.progress else []
        return GitFetch(
            self,
            remote,
            without_password(self.repourl),
            depth=int(self.shallow or 0),
            tags=bool(self.tags),
            options=[*progress, *(f"--filter={each}" for each in self.filters or ())],
            at_once=1 if self.retryFetch else 0,
        )

    async def __remove_locks(self) -> None:
        """Remove what a killed git leaves behind, in the repository and in those of its submodules."""
        inside = f"{glob.escape(self.__directory)}/.git"
        patterns = [f"{inside}/**/*.lock"]
        if self.submodules:  # ** leaves out directories such as .vendor
            patterns.append(f"{inside}/modules/**/.*/**/*.lock")
        locks: list[str] = []
        for pattern in patterns:
            command = await self.runRemoteCommand("glob", {"path": pattern, "logEnviron": False}, False)
            locks += command.updates.get("files", [[]])[-1]
        if locks:
            await self.runRemoteCommand("rmdir", {"dir": sorted(locks), "logEnviron": False})

    async def __use_reference(self, reference: str) -> None:
        """Let git find objects in another repository of the worker."""
        info = self.build.connection.info
        rules = ntpath if info.get("system") == "nt" else posixpath
        directory = rules.join(self.getProperty("builddir", ""), self.__directory, reference)
        for objects in (rules.join(directory, ".git", "objects"), rules.join(directory, "objects")):
            if await self.pathExists(objects):
                alternates = f"{self.__directory}/.git/objects/info/alternates"
                await self.write_file(alternates, f"{rules.normpath(objects)}\n".replace("\\", "/"))
                return
        raise BuildStepFailed(f"reference {reference} is not a git repository on the worker")

    async def __begin_branch(self, branch: str) -> None:
        """Make what is checked out a local branch, for steps that commit and push; nothing else looks at it."""
        begin = ("checkout", "-q", "-B", branch)
        command = await self.vc(*begin, check=False)
        if command.didFail():  # a/b cannot be there together with a
            above = [f"refs/heads/{branch[: at.start()]}" for at in re.finditer("/", branch)]
            listed = await self.vc("for-each-ref", "--format=%(refname)", f"refs/heads/{branch}/", *above, log=None)
            for ref in listed.stdout.split():
                await self.vc("update-ref", "-d", ref)
            await self.vc(*begin)

    async def __clean(self) -> None:
        if self.__how in ("fresh", "clean"):
            await self.vc("clean", "-ffdx" if self.__how == "fresh" else "-ffd")

    async def __update_submodules(self) -> None:
        if not await self.__try_submodules(check=False):
            # A clone that was killed is not made again by git.
            await self.runRmdir(f"{self.__directory}/.git/modules", self.timeout)
            await self.vc("submodule", "deinit", "-q", "-f", "--all", check=False)
            await self.__try_submodules(check=True)
        if self.__how in ("fresh", "clean"):
            flags = "-ffdx" if self.__how == "fresh" else "-ffd"
            await self.vc("submodule", "foreach", "-q", "--recursive", f"git clean {flags}")

    async def __try_submodules(self, check: bool) -> bool:
        """Check out the submodules. False, unless ``check``, if one of their repositories here is damaged."""
        depth = [f"--depth={int(self.shallow)}"] if self.shallow else []
        remote = ["--remote"] if self.remoteSubmodules else []
        update = ("update", "--init", "--recursive", "--force", *remote, *depth)
        for words in (("sync", "-q", "--recursive"), update):
            command = await self.vc(*self.__as_origin(), "submodule", *words, check=False)
            if command.didFail():
                if not check and any(sign in command.stderr for sign in _DAMAGED):
                    return False
                raise BuildStepFailed(self.complaint("submodule", command))
        return True

    def __as_origin(self) -> list[Any]:
        """What has git take the server for `origin`, which addresses of submodules are relative to."""
        url = self.shown_url()
        if (self.origin or "origin") == "origin":
            return []
        if isinstance(url, str):
            return ["-c", f"remote.origin.url={url}"]
        return ["-c", (url[0], *(f"remote.origin.url={each}" for each in url[1:]))]

    async def __describe(self) -> None:
        """Set the property that ``getDescription`` asks for; that there is nothing to describe is no failure."""
        given = self.getDescription
        if given is False:
            return
        wanted: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        flags = [f"--{name}" for name in _DESCRIBE_FLAGS if wanted.get(name) is True]
        words = [word for name in _DESCRIBE_WORDS if wanted.get(name) for word in (f"--{name}", str(wanted[name]))]
        values = [
            f"--{name}={wanted[name]}" for name in _DESCRIBE_VALUES if wanted.get(name) not in (None, False, True)
        ]
        described = await self.vc_output("describe", *flags, *words, *values, *([] if "dirty" in wanted else ["HEAD"]))
        if described:
            name = f"commit-description-{self.codebase}" if self.codebase else "commit-description"
            self.setProperty(name, described, type(self).__name__)

    @deferred
    async def patch(self, patch: Patch) -> None:
        """Apply a patch to the files and the index; the next checkout takes it back."""
        subdir = posixpath.normpath(patch.subdir)
        where = [] if subdir == "." else [f"--directory={subdir}"]
        await self.vc("update-index", "-q", "--refresh", check=False, log=None)
        complaints: list[str] = []
        for text in spellings(patch.body):
            command = await self.vc("apply", "--index", f"-p{patch.level}", *where, stdin=text, check=False)
            if not command.didFail():
                return
            complaints.append(self.complaint("apply", command))
        raise BuildStepFailed(complaints[0])
