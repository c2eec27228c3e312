"""A step that checks out a Git repository on the worker."""

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
from buildbot.process.workers.transfers import MemoryWriter
from buildbot.steps.source.base import Patch, Source, address, method_of, require_names, spellings
from buildbot.steps.source.gitfetch import GitFetch
from buildbot.steps.source.gitstep import GitServerStep
from buildbot.steps.source.gitwrite import GitCommit, GitPush, GitTag
from buildbot.util.deferreds import deferred
from buildbot.util.git_credential import config_value
from buildbot.util.results import SUCCESS
from buildbot.util.urls import web_login, without_password

__all__ = ["Git", "GitCommit", "GitPush", "GitTag"]

#: git's messages on a submodule's repository that is damaged
_DAMAGED = ("not a git repository", "could not get a repository handle")

#: arguments of ``git describe`` that ``getDescription`` may name: flags, those whose value is the next word, and those
#: with a value behind ``=``
_DESCRIBE_FLAGS = ("all", "always", "contains", "debug", "long", "exact-match", "first-parent", "tags", "dirty")
_DESCRIBE_WORDS = ("match", "exclude")
_DESCRIBE_VALUES = ("abbrev", "candidates", "dirty")

#: more than a repository's configuration has
_MAX_CONFIG_BYTES = 2**22
_URL = re.compile(r"\s*url\s*=")
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

    The step repairs a directory that an interrupted build has left in any state. A local branch with the name of the
    source stamp's branch is set to the commit, for steps that commit and push. A revision that is on no branch any more
    is found as long as the server has it.
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
    repourl = argument(REQUIRED, address, rendered=True, doc="the address of the repository")
    branch = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="used if the source stamp has none; None: the branch of the repository's HEAD",
    )
    method = method_of("clobber", "fresh", "clean", "copy", default="fresh")
    shallow = argument(False, _depth, rendered=True, doc="True: fetch one commit only; a number: so many commits")
    filters = argument(
        None,
        checks.optional(checks.list_of(checks.name)),
        rendered=True,
        doc="filters of `git fetch --filter`, such as `['blob:none']`: objects that are fetched only when needed",
    )
    reference = argument(
        None,
        checks.optional(checks.name),
        rendered=True,
        doc="a repository on the worker whose objects need not be fetched; relative to the workdir",
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
        False, checks.flag, rendered=True, doc="if the checkout fails, remove the directory and try again"
    )
    getDescription = argument(
        False,
        _description,
        rendered=True,
        doc="""set the property `commit-description` (with a codebase `commit-description-CODEBASE`) to the output of
        `git describe`; True, or a dictionary of its arguments: `{"tags": True, "match": "v*"}`""",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__how = ""

    async def run_vc(self, branch: str | None, revision: str | None, patch: Patch | None) -> int:
        """Check out."""
        self.__how = self.cleaning()
        workdir = self.directory()
        self.checkout_directory = "source" if self.__how == "copy" else workdir
        wanted = branch or self.branch or "HEAD"
        require_names(wanted, revision)
        async with await self.login():
            if self.__how == "clobber":
                await self.runRmdir(workdir, self.timeout)
            try:
                await self.__update(wanted, revision)
            except BuildStepFailed:
                if not self.clobberOnFailure or self.__how == "clobber":
                    raise
                await self.runRmdir(self.checkout_directory, self.timeout)
                await self.__update(wanted, revision)
            await self.apply_patch(patch)
            await self.__keep_login()
        if self.__how == "copy":
            await self.copy_checkout()
        return SUCCESS

    async def __update(self, branch: str, revision: str | None) -> None:
        """Bring the directory to the wanted revision."""
        await self.__remove_locks()
        await self.vc("init", "-q")
        remote = self.origin or "origin"
        await self.vc("config", f"remote.{remote}.url", self.server_url())
        if self.reference:
            await self.__use_reference(self.reference)
        found = await self.__fetching(remote).find(branch, revision)
        await self.__clean()  # files of earlier builds could be in the way of the checkout
        await self.vc("checkout", "-q", "-f", "--detach", found, "--")
        await self.__clean()  # files that the other revision ignored
        if branch != "HEAD" and not branch.startswith("refs/"):
            await self.__begin_branch(branch)
        if self.submodules:
            await self.__update_submodules()
        head = await self.vc("rev-parse", "HEAD")
        self.set_revision(head.stdout.strip())
        await self.__describe()

    async def __keep_login(self) -> None:
        """Give later commands of the build the login in ``repourl``: it is in the address of the remote.

        Git cannot be told an address but by an argument, which every account of the machine can read. So its
        configuration is read and written as a file.
        """
        if web_login(self.repourl) is None:
            return
        writer = MemoryWriter(_MAX_CONFIG_BYTES)
        where = {"workdir": f"{self.checkout_directory}/.git", "workersrc": "config", "writer": writer}
        await self.runRemoteCommand(
            "uploadFile", {**where, "maxsize": _MAX_CONFIG_BYTES, "blocksize": 2**14, "keepstamp": False}
        )
        config = _with_address(writer.content.decode(errors="surrogateescape"), self.origin or "origin", self.repourl)
        await self.write_file(f"{self.checkout_directory}/.git/config", config)
        if self.submodules and not self.__as_origin():  # addresses relative to the remote's have the login, too
            await self.vc("submodule", "sync", "-q", "--recursive")

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
        """Remove the locks of a killed git, in the repository and in those of its submodules."""
        inside = f"{glob.escape(self.checkout_directory)}/.git"
        patterns = [f"{inside}/**/*.lock"]
        if self.submodules:  # ** does not match hidden directories such as .vendor
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
        directory = rules.join(self.getProperty("builddir", ""), self.checkout_directory, reference)
        for objects in (rules.join(directory, ".git", "objects"), rules.join(directory, "objects")):
            if await self.pathExists(objects):
                alternates = f"{self.checkout_directory}/.git/objects/info/alternates"
                await self.write_file(alternates, f"{rules.normpath(objects)}\n".replace("\\", "/"))
                return
        raise BuildStepFailed(f"reference {reference} is not a git repository on the worker")

    async def __begin_branch(self, branch: str) -> None:
        """Set a local branch to the commit, for steps that commit and push; nothing else uses it."""
        begin = ("checkout", "-q", "-B", branch)
        command = await self.vc(*begin, check=False)
        if command.didFail():  # a branch a/b cannot exist beside a branch a
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
            # git does not repeat a clone that was killed
            await self.runRmdir(f"{self.checkout_directory}/.git/modules", self.timeout)
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
        """Options by which git finds the server as `origin`, to which addresses of submodules are relative."""
        url = self.server_url()
        if (self.origin or "origin") == "origin":
            return []
        if isinstance(url, str):
            return ["-c", f"remote.origin.url={url}"]
        return ["-c", (url[0], *(f"remote.origin.url={each}" for each in url[1:]))]

    async def __describe(self) -> None:
        """Set the property that ``getDescription`` asks for; a commit without a description is no failure."""
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
        """Apply a patch to the files and the index; the next checkout undoes it."""
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


def _with_address(config: str, remote: str, url: str) -> str:
    """The text of a git configuration with another address of a remote."""
    lines, inside = config.splitlines(keepends=True), False
    for number, line in enumerate(lines):
        if line.startswith("["):
            inside = line.strip() == f'[remote "{remote}"]'
        elif inside and _URL.match(line):
            lines[number] = f"\turl = {config_value(url)}\n"
    return "".join(lines)
