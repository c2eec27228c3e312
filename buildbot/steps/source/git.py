"""Check out a Git repository on the worker.

What is to be built is said by people: a branch that has the name of a tag, a revision that is a tag or ``HEAD``. Git
would look such names up in the worker's directory, where an older build left its own. So names are looked up on the
server, a branch as ``refs/heads/NAME`` first, and only whole hashes are taken as they are.
"""

from __future__ import annotations

import glob
import posixpath
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.internet.task import deferLater

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.commandmixin import CommandMixin
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.step import BuildStep, BuildStepFailed, with_result
from buildbot.util.results import SUCCESS

MODES = ("incremental", "full")
METHODS = ("clobber", "fresh", "clean", "copy")

#: a whole hash (SHA-1 or SHA-256), and the beginning of one
_HASH = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?\Z")
_SHORT_HASH = re.compile(r"[0-9a-fA-F]{4,63}\Z")
#: a name on the server, and the steps from it: ``main~2``, ``v1^{commit}``
_NAME = re.compile(
    r"(?P<name>(?!.*(?:\.\.|@\{|//))[^-\s~^:?*\[\\][^\s~^:?*\[\\]*)(?P<walk>(?:~\d*|\^\d*|\^\{[a-z]*\})*)\Z"
)
#: names that mean the newest of the branch; in the worker's directory they are what an older build left there
_NEWEST = ("HEAD", "FETCH_HEAD", "@")

#: how git is to behave whatever the worker's own configuration says: a commit of a submodule that exists nowhere is no
#: fault as long as it is not checked out; nothing goes on in the background, where the next build would meet its locks
_CONFIG = {
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "gc.autoDetach": "false",
    "maintenance.autoDetach": "false",
}

#: how git complains of a submodule's repository that is there, but not whole
_DAMAGED = ("not a git repository", "could not get a repository handle")

#: arguments of ``git describe`` by their name in ``getDescription``: flags, then those with a value of its own word,
#: then those with a value behind ``=``
_DESCRIBE_FLAGS = ("all", "always", "contains", "debug", "long", "exact-match", "first-parent", "tags", "dirty")
_DESCRIBE_WORDS = ("match", "exclude")
_DESCRIBE_VALUES = ("abbrev", "candidates", "dirty")


def _address(value: Any) -> str:
    if not checks.text(value):
        raise ValueError("must be the address of a repository, not an empty text")
    return str(value)


def _depth(value: Any) -> int | None:
    if value is not None and not (isinstance(value, int) and value >= 0):
        raise ValueError(f"must be True, False or a number of commits, not {checks.kind(value)}")
    return value


def _retry(value: Any) -> Any:
    if value is not None and not (isinstance(value, (tuple, list)) and len(value) == 2):
        raise ValueError(f"must be (seconds, times), not {checks.kind(value)}")
    return value


def _description(value: Any) -> Any:
    if not isinstance(value, (bool, dict)):
        raise ValueError(f"must be True, False or a dictionary, not {checks.kind(value)}")
    known = {*_DESCRIBE_FLAGS, *_DESCRIBE_WORDS, *_DESCRIBE_VALUES}
    for name in value if isinstance(value, dict) else ():
        if name not in known:
            raise ValueError(f"has no {name!r}; it has {', '.join(sorted(known))}")
    return value


class Git(CommandMixin, BuildStep):
    """Check out the revision of the build's source stamp, or the newest of its branch, and set ``got_revision``.

    The directory is made into a repository and fetched into, whatever state an interrupted build left it in. The
    checkout is of a commit, not of a local branch. A revision that is on no branch any more is found as long as the
    server still gives it out.
    """

    name = "git"
    haltOnFailure = True
    positional: ClassVar[tuple[str, ...]] = ("repourl",)
    repourl = argument(REQUIRED, _address, rendered=True, doc="where to fetch from")
    branch = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="used if the source stamp has none; None: what the repository's HEAD says",
    )
    mode = argument(
        "incremental",
        checks.one_of(*MODES),
        rendered=True,
        doc="`incremental` keeps files that earlier builds made; `full` removes them, by one of the methods",
    )
    method = argument(
        None,
        checks.optional(checks.one_of(*METHODS)),
        rendered=True,
        doc="""`clobber` (the directory is removed first), `fresh` (all untracked files are removed, the default),
        `clean` (the same, ignored files stay), `copy` (kept in `source`, copied to the workdir)""",
    )
    shallow = argument(False, _depth, rendered=True, doc="fetch one commit only, or this number of them")
    submodules = argument(False, checks.flag, rendered=True, doc="check them out too")
    tags = argument(
        False,
        checks.flag,
        rendered=True,
        doc="fetch all tags also where `shallow` is set; without it they are always fetched",
    )
    alwaysUseLatest = argument(
        False,
        checks.flag,
        rendered=True,
        doc="take the newest of the branch, whatever revision the source stamp asks for",
    )
    progress = argument(
        True,
        checks.flag,
        rendered=True,
        doc="have git report its progress, so that a long fetch does not run into `timeout`",
    )
    codebase = argument("", checks.text, rendered=True, doc="whose source stamp to use")
    env = argument(
        None, checks.optional(checks.mapping), rendered=True, doc="environment variables of the git commands"
    )
    timeout = argument(
        20 * 60,
        checks.optional(checks.number()),
        rendered=True,
        doc="seconds without output before a git command is killed",
    )
    retry = argument(
        None, _retry, rendered=True, doc="`(seconds, times)` to wait and try again when fetching fails; None: not"
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
    config = argument(
        None, checks.optional(checks.mapping), rendered=True, doc="`{name: value}` given to git as `-c name=value`"
    )
    logEnviron = argument(True, checks.flag, rendered=True, doc="write the environment to the log")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.depth = 0
        self._directory = self._how = ""

    async def run(self) -> int:
        """Check out."""
        self.depth = int(self.shallow or 0)
        self._how = (self.method or "fresh") if self.mode == "full" else "incremental"
        workdir = self.directory()
        self._directory = "source" if self._how == "copy" else workdir
        if self._how == "clobber":
            await self.runRmdir(workdir, self.timeout)
        try:
            await self._update()
        except BuildStepFailed:
            if not self.clobberOnFailure or self._how == "clobber":
                raise
            await self.runRmdir(self._directory, self.timeout)
            await self._update()
        if self._how == "copy":
            await self.runRmdir(workdir, self.timeout)
            await self.runRemoteCommand(
                "cpdir", {"fromdir": "source", "todir": workdir, "logEnviron": False, "timeout": self.timeout}
            )
        return SUCCESS

    def getCurrentSummary(self) -> dict[str, str]:
        """The description, or "updating"."""
        return {"step": self.describe(self.description, "updating")}

    def getResultSummary(self) -> dict[str, str]:
        """The revision that was checked out, or git's complaint."""
        revision = str(self.getProperty("got_revision", ""))[:10] if self.results == SUCCESS else ""
        text = with_result(self.describe(self.descriptionDone, f"update {revision}".strip()), self.results)
        return {"step": text, "build": text}

    async def _update(self) -> None:
        """Bring the directory to the wanted revision."""
        stamp: Mapping[str, Any] | None = self.build.getSourceStamp(self.codebase)
        if stamp is None:
            raise BuildStepFailed(f"the build has no source stamp for codebase {self.codebase!r}")
        branch = stamp["branch"] or self.branch or "HEAD"
        revision = None if self.alwaysUseLatest else (stamp["revision"] or "").strip() or None
        for word in filter(None, (branch, revision)):
            if word.startswith("-"):
                raise BuildStepFailed(f"not the name of a branch or revision: {word!r}")
        await self._remove_locks()
        await self._git("init", "-q")
        url = without_password(self.repourl)
        shown = self.repourl if url == self.repourl else ("obfuscated", self.repourl, url)
        await self._git("config", "remote.origin.url", shown)
        found = await self._find(branch, revision)
        await self._clean()  # what lies in the way
        await self._git("checkout", "-q", "-f", "--detach", found, "--")
        await self._clean()  # what the other revision left
        if self.submodules:
            await self._update_submodules()
        head = await self._git("rev-parse", "HEAD")
        self._set_revision(head.stdout.strip())
        await self._describe()
        if stamp.get("patch"):
            await self._patch(stamp["patch"])

    async def _remove_locks(self) -> None:
        """Remove what a killed git leaves behind, in the repository and in those of its submodules."""
        inside = f"{glob.escape(self._directory)}/.git"
        patterns = [f"{inside}/**/*.lock"]
        if self.submodules:  # ** leaves out directories such as .vendor
            patterns.append(f"{inside}/modules/**/.*/**/*.lock")
        locks: list[str] = []
        for pattern in patterns:
            command = await self.runRemoteCommand("glob", {"path": pattern, "logEnviron": False}, False)
            locks += command.updates.get("files", [[]])[-1]
        if locks:
            await self.runRemoteCommand("rmdir", {"dir": sorted(locks), "logEnviron": False})

    async def _find(self, branch: str, revision: str | None) -> str:
        """Fetch what is wanted; what to check out then."""
        if revision is None or revision in _NEWEST:
            await self._fetch_branch(branch)
            return "FETCH_HEAD"
        if _HASH.match(revision):
            return revision if await self._has(revision) else await self._fetch_commit(branch, revision)
        name = _NAME.match(revision)
        if name is None:
            raise BuildStepFailed(f"revision {revision!r} is not a commit's hash, nor the name of a branch or tag")
        start, walk = name["name"], name["walk"]
        if start in _NEWEST:
            await self._fetch_branch(branch)
            start = "FETCH_HEAD"
        else:
            start = await self._look_up(branch, start)
        if walk:
            start = await self._git_word("rev-parse", "--verify", "-q", f"{start}{walk}^{{commit}}")
        if not start:
            where = f"; only {self.depth} commits were fetched" if self.depth else ""
            raise BuildStepFailed(f"there is no {revision} in {without_password(self.repourl)}{where}")
        return start

    async def _look_up(self, branch: str, name: str) -> str:
        """Fetch the branch or tag of a name, or else the commit whose hash begins so; the commit's whole hash."""
        full = name if name.startswith("refs/") else f"refs/tags/{name}"
        listed = await self._git("ls-remote", "origin", full, *([] if full == name else [f"refs/heads/{name}"]))
        wanted = {full, f"refs/heads/{name}"}
        refs = {
            ref: hash for hash, _, ref in (line.partition("\t") for line in listed.stdout.splitlines()) if ref in wanted
        }
        if len(refs) > 1:
            raise BuildStepFailed(f"revision {name} is a branch and a tag; say {' or '.join(sorted(refs))}")
        for ref in refs:
            await self._fetch([*self._depth(), "origin", ref], must=True)
            return await self._git_word("rev-parse", "--verify", "-q", "FETCH_HEAD^{commit}")
        if not _SHORT_HASH.match(name):
            raise BuildStepFailed(f"revision {name} is not in {without_password(self.repourl)}")
        return await self._expand(name) or await self._fetch_commit(branch, name)

    async def _fetch_commit(self, branch: str, revision: str) -> str:
        """Fetch until there is a commit with this hash, or one that begins so; its hash."""
        whole = _HASH.match(revision) is not None
        everything = ["--tags", "--prune", "origin", "+refs/heads/*:refs/remotes/origin/*"]

        async def found() -> str:
            return (revision if await self._has(revision) else "") if whole else await self._expand(revision)

        async def itself() -> bool:
            return whole and await self._fetch([*self._depth(), "origin", revision])

        async def newest() -> bool:
            return await self._fetch_branch(branch, must=False)

        for fetch in (itself, newest) if self.depth else (newest, itself):
            if await fetch() and (commit := await found()):
                return commit
        await self._fetch(everything)
        commit = await found()
        if not commit:
            raise BuildStepFailed(f"revision {revision} is not in {without_password(self.repourl)}")
        return commit

    def _depth(self) -> list[str]:
        return [f"--depth={self.depth}"] if self.depth else []

    async def _fetch_branch(self, branch: str, must: bool = True) -> bool:
        """Fetch the newest commit of a branch, or else of what has this name on the server: a tag, another ref."""
        options = [*self._depth(), *(["--tags"] if self.tags or not self.depth else []), "origin"]
        if (
            branch != "HEAD"
            and not branch.startswith("refs/")
            and await self._fetch([*options, f"refs/heads/{branch}"])
        ):
            return True
        return await self._fetch([*options, branch], must)

    async def _fetch(self, wanted: list[str], must: bool = False) -> bool:
        """One fetch, tried again as ``retry`` says; that a name is not there is no reason to try again.

        Returns:
            False if what is wanted is not there.

        Raises:
            BuildStepFailed: it failed otherwise, or ``must`` be there.
        """
        delay_s, times = self.retry or (0, 1 if self.retryFetch else 0)
        progress = ["--progress"] if self.progress else []
        for left in range(times, -1, -1):
            command = await self._git("fetch", "-f", "--no-recurse-submodules", *progress, *wanted, check=False)
            if not command.didFail():
                return True
            missing = "couldn't find remote ref" in command.stderr or "not our ref" in command.stderr
            if missing and not must:
                return False
            if missing or not left:
                raise BuildStepFailed(self._complaint("fetch", command))
            await self.getLog("stdio").addHeader(f"trying again in {delay_s} s\n")
            await self.wait(deferLater(self.master.reactor, delay_s, lambda: None))
        return False

    async def _has(self, revision: str) -> bool:
        """Whether the commit with this whole hash is here already."""
        command = await self._git("cat-file", "-e", f"{revision}^{{commit}}", check=False, show=False)
        return not command.didFail()

    async def _expand(self, short: str) -> str:
        """The whole hash of the commit here whose hash begins so; empty if there is none.

        Git's own look-up would take a branch or tag of this name that an older build left here.
        """
        objects = await self._git("rev-parse", f"--disambiguate={short}", check=False, show=False)
        if not objects.stdout.strip():
            return ""
        listed = await self._git("cat-file", "--batch-check", stdin=objects.stdout, show=False)
        commits = [line.split()[0] for line in listed.stdout.splitlines() if line.split()[1:2] == ["commit"]]
        if len(commits) > 1:
            raise BuildStepFailed(f"revision {short} is the beginning of several commits: {', '.join(sorted(commits))}")
        return commits[0] if commits else ""

    async def _git_word(self, *args: str) -> str:
        """What a git command prints; empty if it fails."""
        command = await self._git(*args, check=False)
        return "" if command.didFail() else command.stdout.strip()

    async def _clean(self) -> None:
        if self._how in ("fresh", "clean"):
            await self._git("clean", "-ffdx" if self._how == "fresh" else "-ffd")

    async def _update_submodules(self) -> None:
        if not await self._try_submodules(check=False):
            # A clone that was killed is not made again by git.
            await self.runRmdir(f"{self._directory}/.git/modules", self.timeout)
            await self._git("submodule", "deinit", "-q", "-f", "--all", check=False)
            await self._try_submodules(check=True)
        if self._how in ("fresh", "clean"):
            flags = "-ffdx" if self._how == "fresh" else "-ffd"
            await self._git("submodule", "foreach", "-q", "--recursive", f"git clean {flags}")

    async def _try_submodules(self, check: bool) -> bool:
        """Check out the submodules. False, unless ``check``, if one of their repositories here is damaged."""
        update = ("update", "--init", "--recursive", "--force", *self._depth())
        for words in (("sync", "-q", "--recursive"), update):
            command = await self._git("submodule", *words, check=False)
            if command.didFail():
                if not check and any(sign in command.stderr for sign in _DAMAGED):
                    return False
                raise BuildStepFailed(self._complaint("submodule", command))
        return True

    async def _describe(self) -> None:
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
        described = await self._git_word("describe", *flags, *words, *values, *([] if "dirty" in wanted else ["HEAD"]))
        if described:
            name = f"commit-description-{self.codebase}" if self.codebase else "commit-description"
            self.setProperty(name, described, "Git")

    async def _patch(self, patch: Mapping[str, Any]) -> None:
        """Apply the source stamp's patch to the files and the index; the next checkout takes it back."""
        body = patch.get("body")
        if not body:
            raise BuildStepFailed("the source stamp has a patch, but its text is not there")
        await self.addCompleteLog("patch", body)
        subdir = posixpath.normpath(patch.get("subdir") or ".")
        where = [] if subdir == "." else [f"--directory={subdir}"]
        await self._git("update-index", "-q", "--refresh", check=False, show=False)
        level = 1 if patch["level"] is None else patch["level"]
        complaints: list[str] = []
        for text in spellings(body):
            command = await self._git("apply", "--index", f"-p{level}", *where, stdin=text, check=False)
            if not command.didFail():
                return
            complaints.append(self._complaint("apply", command))
        raise BuildStepFailed(complaints[0])

    def _set_revision(self, revision: str) -> None:
        """Set ``got_revision``; with codebases it holds a dictionary of them, as users' configurations expect."""
        if self.codebase:
            known = self.getProperty("got_revision", {})
            self.setProperty("got_revision", {**known, self.codebase: revision}, "Git")
        else:
            self.setProperty("got_revision", revision, "Git")

    async def _git(
        self, *args: Any, check: bool = True, show: bool = True, stdin: str | None = None
    ) -> RemoteShellCommand:
        """Run a git command in the directory; BuildStepFailed with git's complaint if it fails and is checked."""
        config = {**_CONFIG, **(self.config or {})}
        options = [word for name, value in config.items() for word in ("-c", f"{name}={value}")]
        # Failures are told apart by git's words, which must be English then.
        ours = {"GIT_TERMINAL_PROMPT": "0", "LANGUAGE": "en"}
        env = {**await self.render(dict(self.build.env)), **ours, **(self.env or {})}
        command = RemoteShellCommand(
            self._directory,
            ["git", *options, *args],
            env=env,
            timeout=self.timeout,
            logEnviron=self.logEnviron and args[0] == "init",
            initialStdin=stdin,
            collectStdout=True,
            collectStderr=True,
            stdioLogName="stdio" if show else None,
        )
        await self.runCommand(command)
        if check and command.didFail():
            raise BuildStepFailed(self._complaint(args[0], command))
        return command

    def _complaint(self, what: str, command: RemoteShellCommand) -> str:
        """What git said about its failure, in one line."""
        if command.failure_reason() is not None:
            return f"git {what}: no output for {self.timeout} s"
        lines = command.stderr.strip().splitlines()
        grave = [line for line in lines if line.startswith(("fatal:", "error:"))]
        return without_password(f"git {what}: {(grave or lines[-1:] or [f'exit status {command.rc}'])[0]}")


def spellings(patch: str) -> list[str]:
    """A patch as git may need it, in the order to try: lines that a form or a mail client ended its way are mended.

    With CRLF everywhere, the patch went through something that ends all lines so, and its files most likely do not. A
    last line without its end is completed: git would take it for a damaged patch.
    """
    body = patch if patch.endswith("\n") else f"{patch}\n"
    if "\r\n" not in body:
        return [body]
    plain = body.replace("\r\n", "\n")
    if body.count("\r\n") < body.count("\n"):
        return [body, plain]
    content = re.sub(r"(?m)^(?!\+\+\+ |--- )([-+ ].*)$", "\\1\r", plain)
    return [plain, content]


def without_password(text: str) -> str:
    """``text`` with what stands before the ``@`` of URLs taken out."""
    return re.sub(r"://[^/@\s']+@", "://", text)
