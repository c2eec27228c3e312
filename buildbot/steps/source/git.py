"""Check out a Git repository on the worker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from twisted.internet.task import deferLater

from buildbot.config.errors import error
from buildbot.process.commandmixin import CommandMixin
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.rendering import is_renderable
from buildbot.process.step import BuildStep, BuildStepFailed, with_result
from buildbot.util.results import SUCCESS

MODES = ("incremental", "full")
METHODS = ("clobber", "fresh", "clean", "copy")


class Git(CommandMixin, BuildStep):
    """Check out the revision of the build's source stamp, or the newest of its branch, and set ``got_revision``.

    The directory is made into a repository and fetched into, whatever state an interrupted build left it in. The
    checkout is of a commit, not of a local branch. A revision that is on no branch any more is found as long as the
    server still gives it out.

    Args:
        repourl: where to fetch from.
        branch: used if the source stamp has none; None: what the repository's HEAD says.
        mode: ``incremental`` keeps files that earlier builds made; ``full`` removes them, by one of the methods:
        method: ``clobber`` (the directory is removed first), ``fresh`` (all untracked files are removed, the
            default), ``clean`` (the same, ignored files stay), ``copy`` (kept in ``source``, copied to the workdir).
        shallow: fetch one commit only, or this number of them.
        submodules: check them out too.
        alwaysUseLatest: take the newest of the branch, whatever revision the source stamp asks for.
        codebase: whose source stamp to use.
        env: environment variables of the git commands.
        timeout: seconds without output before a git command is killed.
        retry: ``(seconds, times)`` to wait and try again when fetching fails; None: not.
        clobberOnFailure: if all else fails, remove the directory and start anew.
        config: ``{name: value}`` given to git as ``-c name=value``.
        logEnviron: write the environment to the log.
    """

    name = "git"
    haltOnFailure = True
    renderables = ("repourl", "branch", "codebase", "env", "config")

    def __init__(
        self,
        repourl: Any = None,
        branch: Any = None,
        mode: str = "incremental",
        method: str | None = None,
        shallow: bool | int = False,
        submodules: bool = False,
        alwaysUseLatest: bool = False,
        codebase: Any = "",
        env: Any = None,
        timeout: float | None = 20 * 60,
        retry: Any = None,
        clobberOnFailure: bool = False,
        config: Any = None,
        logEnviron: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not is_renderable(repourl) and (not isinstance(repourl, str) or not repourl):
            error("Git needs a repourl")
        if mode not in MODES:
            error(f"Git: mode must be one of {', '.join(MODES)}, not {mode!r}")
        if method is not None and (mode != "full" or method not in METHODS):
            error(f"Git: method is for mode 'full' and one of {', '.join(METHODS)}, not {method!r}")
        if retry is not None and not (isinstance(retry, (tuple, list)) and len(retry) == 2):
            error(f"Git: retry must be (seconds, times), not {retry!r}")
        self.repourl, self.branch, self.codebase = repourl, branch, codebase
        self.method = (method or "fresh") if mode == "full" else "incremental"
        self.depth = int(shallow)
        self.submodules, self.alwaysUseLatest = submodules, alwaysUseLatest
        self.env, self.timeout, self.retry, self.logEnviron = env, timeout, retry, logEnviron
        self.clobberOnFailure = clobberOnFailure
        self.config = config
        self._directory = ""

    async def run(self) -> int:
        """Check out."""
        workdir = self.directory()
        self._directory = "source" if self.method == "copy" else workdir
        if self.method == "clobber":
            await self.runRmdir(workdir, self.timeout)
        try:
            await self._update()
        except BuildStepFailed:
            if not self.clobberOnFailure or self.method == "clobber":
                raise
            await self.runRmdir(self._directory, self.timeout)
            await self._update()
        if self.method == "copy":
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
        branch = stamp["branch"] or self.branch
        revision = None if self.alwaysUseLatest else stamp["revision"]
        for word in (branch, revision):
            if word and word.startswith("-"):
                raise BuildStepFailed(f"not the name of a branch or revision: {word!r}")
        await self._git("init", "-q")
        url = without_password(self.repourl)
        shown = self.repourl if url == self.repourl else ("obfuscated", self.repourl, url)
        await self._git("config", "remote.origin.url", shown)
        # what a killed git leaves behind
        await self.runRemoteCommand(
            "rmdir",
            {
                "dir": [f"{self._directory}/.git/{name}.lock" for name in ("index", "shallow", "HEAD", "config")],
                "logEnviron": False,
            },
        )
        if revision is None or not await self._has(revision):
            revision = await self._fetch(branch, revision)
        await self._clean()  # what lies in the way
        await self._git("checkout", "-q", "-f", "--detach", revision, "--")
        await self._clean()  # what the other revision left
        if self.submodules:
            await self._update_submodules()
        head = await self._git("rev-parse", "HEAD")
        self._set_revision(head.stdout.strip())
        if stamp.get("patch"):
            await self._patch(stamp["patch"])

    async def _fetch(self, branch: str | None, revision: str | None) -> str:
        """Fetch what is wanted; what to check out then."""
        depth = [f"--depth={self.depth}"] if self.depth else []
        newest = [*depth, *([] if depth else ["--tags"]), "origin", branch or "HEAD"]
        if revision is None:
            await self._fetch_one(newest, missing_is_failure=True)
            return "FETCH_HEAD"
        itself = [*depth, "origin", revision]
        everything = ["--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"]
        for wanted in (itself, newest, everything) if depth else (newest, itself, everything):
            await self._fetch_one(wanted, missing_is_failure=False)
            if await self._has(revision):
                return revision
        raise BuildStepFailed(f"revision {revision} is not in {without_password(self.repourl)}")

    async def _fetch_one(self, wanted: list[str], missing_is_failure: bool) -> None:
        """One fetch, tried again as ``retry`` says; that a name is not there is no reason to try again."""
        delay_s, times = self.retry or (0, 0)
        for left in range(times, -1, -1):
            command = await self._git("fetch", "-f", "--progress", *wanted, check=False)
            missing = "couldn't find remote ref" in command.stderr or "not our ref" in command.stderr
            if not command.didFail() or (missing and not missing_is_failure):
                return
            if missing or not left:
                raise BuildStepFailed(self._complaint("fetch", command))
            self.getLog("stdio").addHeader(f"trying again in {delay_s} s\n")
            await self.wait(deferLater(self.master.reactor, delay_s, lambda: None))

    async def _has(self, revision: str) -> bool:
        """Whether the commit is here already."""
        command = await self._git("cat-file", "-e", f"{revision}^{{commit}}", check=False, show=False)
        return not command.didFail()

    async def _clean(self) -> None:
        if self.method in ("fresh", "clean"):
            await self._git("clean", "-ffdx" if self.method == "fresh" else "-ffd")

    async def _update_submodules(self) -> None:
        await self._git("submodule", "sync", "-q", "--recursive")
        depth = [f"--depth={self.depth}"] if self.depth else []
        await self._git("submodule", "update", "--init", "--recursive", "--force", *depth)
        if self.method in ("fresh", "clean"):
            flags = "-ffdx" if self.method == "fresh" else "-ffd"
            await self._git("submodule", "foreach", "-q", "--recursive", f"git clean {flags}")

    async def _patch(self, patch: Mapping[str, Any]) -> None:
        """Apply the source stamp's patch to the files."""
        if not patch.get("body"):
            raise BuildStepFailed("the source stamp has a patch, but its text is not there")
        where = [f"--directory={patch['subdir']}"] if patch.get("subdir") not in (None, "", ".") else []
        await self._git("apply", f"-p{patch['level']}", *where, stdin=patch["body"])

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
        options = [word for name, value in (self.config or {}).items() for word in ("-c", f"{name}={value}")]
        env = {**await self.render(dict(self.build.env)), "GIT_TERMINAL_PROMPT": "0", **(self.env or {})}
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


def without_password(text: str) -> str:
    """``text`` with what stands before the ``@`` of URLs taken out."""
    return re.sub(r"://[^/@\s']+@", "://", text)
