"""Steps that write to a Git repository: commit and tag in the worker's directory, push to a server."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.interfaces import holds_renderable, is_renderable
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.gitstep import GitServerStep, GitStep
from buildbot.util.results import SUCCESS

EMPTY_COMMITS = ("disallow", "create-empty-commit", "ignore")


def _ref(value: Any) -> str:
    name = checks.name(value)
    if name.startswith("-"):
        raise ValueError(f"must not begin with '-': {name!r}")
    return name


def _some(value: Any) -> list[str]:
    texts: list[str] = checks.list_of(checks.text)(value)
    if not texts:
        raise ValueError("must have at least one element")
    return texts


def _with_messages(messages: list[str] | None) -> list[str]:
    return [word for message in messages or () for word in ("-m", message)]


class GitCommit(GitStep):
    """Commit files in the working directory, on the branch that is checked out."""

    positional: ClassVar[tuple[str, ...]] = (
        "workdir",
        "paths",
        "messages",
        "env",
        "timeout",
        "logEnviron",
        "emptyCommits",
        "config",
        "no_verify",
    )

    name = "gitcommit"
    paths = argument(REQUIRED, _some, rendered=True, doc="the files and directories to commit")
    messages = argument(REQUIRED, _some, rendered=True, doc="the paragraphs of the commit's message")
    emptyCommits = argument(
        "disallow",
        checks.one_of(*EMPTY_COMMITS),
        rendered=True,
        doc="""what to do if nothing has changed: `disallow` (the step fails), `create-empty-commit`, or `ignore` (no
        commit is made, the step succeeds)""",
    )
    no_verify = argument(False, checks.flag, rendered=True, doc="do not run the repository's hooks")

    async def run(self) -> int:
        """Commit."""
        head = await self.vc("symbolic-ref", "HEAD", check=False)
        if head.didFail():
            raise BuildStepFailed("no branch is checked out, so the commit would be on no branch")
        await self.vc("add", "--", *self.paths)
        if self.emptyCommits == "ignore":
            staged = await self.vc("diff", "--cached", "--quiet", check=False)
            if not staged.didFail():
                self.descriptionDone = self.descriptionDone or "nothing to commit"
                return SUCCESS
        empty = ["--allow-empty"] if self.emptyCommits == "create-empty-commit" else []
        unverified = ["--no-verify"] if self.no_verify else []
        await self.vc("commit", *_with_messages(self.messages), *empty, *unverified)
        return SUCCESS


class GitTag(GitStep):
    """Set a tag on the commit that is checked out."""

    positional: ClassVar[tuple[str, ...]] = (
        "workdir",
        "tagName",
        "annotated",
        "messages",
        "force",
        "env",
        "timeout",
        "logEnviron",
        "config",
    )

    name = "gittag"
    tagName = argument(REQUIRED, _ref, rendered=True, doc="the name of the tag")
    annotated = argument(False, checks.flag, rendered=True, doc="make an annotated tag, with `messages`")
    messages = argument(
        None, checks.optional(_some), rendered=True, doc="the paragraphs of the tag's message; needs `annotated`"
    )
    force = argument(False, checks.flag, rendered=True, doc="move the tag if it exists")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_renderable(self.annotated) and not holds_renderable(self.messages):
            problem = self.__mistake()
            if problem is not None:
                error(f"{type(self).__name__}: {problem}")

    def __mistake(self) -> str | None:
        if self.annotated and not self.messages:
            return "an annotated tag needs messages"
        return "messages need annotated=True" if self.messages and not self.annotated else None

    async def run(self) -> int:
        """Set the tag."""
        problem = self.__mistake()
        if problem is not None:
            raise BuildStepFailed(problem)
        annotated = ["-a"] if self.annotated else []
        force = ["--force"] if self.force else []
        await self.vc("tag", *annotated, self.tagName, *_with_messages(self.messages), *force)
        return SUCCESS


class GitPush(GitServerStep):
    """Push a local branch or tag to a server."""

    positional: ClassVar[tuple[str, ...]] = (
        "workdir",
        "repourl",
        "port",
        "branch",
        "force",
        "env",
        "timeout",
        "logEnviron",
        "sshPrivateKey",
        "sshHostKey",
        "sshKnownHosts",
        "auth_credentials",
        "git_credentials",
        "config",
    )

    name = "gitpush"
    branch = argument(
        REQUIRED, _ref, rendered=True, doc="the branch or tag; `local:remote` gives it another name on the server"
    )
    force = argument(
        False, checks.flag, rendered=True, doc="push also if the server's branch has commits that the local one has not"
    )

    async def run(self) -> int:
        """Push."""
        async with await self.login():
            await self.vc("push", self.server_url(), self.branch, *(["--force"] if self.force else []))
        return SUCCESS
