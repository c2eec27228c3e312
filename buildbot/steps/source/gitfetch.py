"""Fetching a revision by a hash or by any other name.

A branch may have the same name as a tag, and a revision may be a tag or ``HEAD``. Git would look such names up in the
worker's directory, where they may be left from an older build. So names are looked up on the server, a branch as
``refs/heads/NAME`` first; only whole hashes are used without a look-up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import NotThereError, Source

#: a whole hash (SHA-1 or SHA-256), and the beginning of one
_HASH = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?\Z")
_SHORT_HASH = re.compile(r"[0-9a-fA-F]{4,63}\Z")
#: a name on the server, and the steps from it: ``main~2``, ``v1^{commit}``
_NAME = re.compile(
    r"(?P<name>(?!.*(?:\.\.|@\{|//))[^-\s~^:?*\[\\][^\s~^:?*\[\\]*)(?P<walk>(?:~\d*|\^\d*|\^\{[a-z]*\})*)\Z"
)
#: names that mean the newest commit of the branch; in the worker's directory they are those of an older build
_NEWEST = ("HEAD", "FETCH_HEAD", "@")
#: git's messages on a ref or commit that the server does not have
_MISSING = ("couldn't find remote ref", "not our ref")


@dataclass(frozen=True)
class GitFetch:
    """Fetches into the repository in a step's directory.

    Attributes:
        step: runs git.
        remote: the name of the server in the repository.
        shown: its address for messages.
        depth: the number of commits to fetch of a branch; 0: all.
        tags: whether to fetch all tags also with a ``depth``.
        options: further arguments of ``git fetch``.
        at_once: the number of further tries of a fetch, without delay.
    """

    step: Source
    remote: str
    shown: str
    depth: int = 0
    tags: bool = False
    options: Sequence[str] = ()
    at_once: int = 0

    async def find(self, branch: str, revision: str | None) -> str:
        """Fetch a branch or revision; gives the name to check out: ``FETCH_HEAD`` or a hash.

        Raises:
            BuildStepFailed: the server does not have it, or cannot be read.
        """
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
            start = await self.step.vc_output("rev-parse", "--verify", "-q", f"{start}{walk}^{{commit}}")
        if not start:
            where = f"; only {self.depth} commits were fetched" if self.depth else ""
            raise BuildStepFailed(f"there is no {revision} in {self.shown}{where}")
        return start

    async def _look_up(self, branch: str, name: str) -> str:
        """Fetch the branch or tag of a name, else the commit whose hash begins with it; the commit's whole hash."""
        full = name if name.startswith("refs/") else f"refs/tags/{name}"
        listed = await self.step.vc("ls-remote", self.remote, full, *([] if full == name else [f"refs/heads/{name}"]))
        wanted = {full, f"refs/heads/{name}"}
        refs = {
            ref: hash for hash, _, ref in (line.partition("\t") for line in listed.stdout.splitlines()) if ref in wanted
        }
        if len(refs) > 1:
            raise BuildStepFailed(f"revision {name} is a branch and a tag; give {' or '.join(sorted(refs))}")
        for ref in refs:
            await self._fetch([*self._depth(), self.remote, ref], must=True)
            return await self.step.vc_output("rev-parse", "--verify", "-q", "FETCH_HEAD^{commit}")
        if not _SHORT_HASH.match(name):
            raise BuildStepFailed(f"revision {name} is not in {self.shown}")
        return await self._expand(name) or await self._fetch_commit(branch, name)

    async def _fetch_commit(self, branch: str, revision: str) -> str:
        """Fetch more and more until the commit of a hash, or of its beginning, is in the repository; its whole hash."""
        whole = _HASH.match(revision) is not None
        everything = ["--tags", "--prune", self.remote, f"+refs/heads/*:refs/remotes/{self.remote}/*"]

        async def found() -> str:
            return (revision if await self._has(revision) else "") if whole else await self._expand(revision)

        async def itself() -> bool:
            return whole and await self._fetch([*self._depth(), self.remote, revision])

        async def newest() -> bool:
            return await self._fetch_branch(branch, must=False)

        for fetch in (itself, newest) if self.depth else (newest, itself):
            if await fetch() and (commit := await found()):
                return commit
        await self._fetch(everything)
        commit = await found()
        if not commit:
            raise BuildStepFailed(f"revision {revision} is not in {self.shown}")
        return commit

    def _depth(self) -> list[str]:
        return [f"--depth={self.depth}"] if self.depth else []

    async def _fetch_branch(self, branch: str, must: bool = True) -> bool:
        """Fetch the newest commit of a branch, else of a tag or another ref of this name; whether there is one."""
        options = [*self._depth(), *(["--tags"] if self.tags or not self.depth else []), self.remote]
        if (
            branch != "HEAD"
            and not branch.startswith("refs/")
            and await self._fetch([*options, f"refs/heads/{branch}"])
        ):
            return True
        return await self._fetch([*options, branch], must)

    async def _fetch(self, wanted: list[str], must: bool = False) -> bool:
        """Run ``git fetch``, with the step's further tries; there is none if the server does not have the name.

        Returns:
            False if the server does not have the name.

        Raises:
            BuildStepFailed: it failed otherwise, or the name is missing and ``must`` is set.
        """

        async def attempt() -> RemoteShellCommand:
            words = ["fetch", "-f", "--no-recurse-submodules", *self.options, *wanted]
            command = await self.step.vc(*words, check=False)
            if command.didFail():
                missing = any(words in command.stderr for words in _MISSING)
                raise (NotThereError if missing else BuildStepFailed)(self.step.complaint("fetch", command))
            return command

        try:
            await self.step.retried(attempt, self.at_once)
        except NotThereError:
            if must:
                raise
            return False
        return True

    async def _has(self, revision: str) -> bool:
        """Whether the repository has the commit of a whole hash."""
        command = await self.step.vc("cat-file", "-e", f"{revision}^{{commit}}", check=False, log=None)
        return not command.didFail()

    async def _expand(self, short: str) -> str:
        """The whole hash of the repository's commit whose hash begins with ``short``; empty if there is none.

        Git's own look-up would prefer a branch or tag of this name, which an older build may have left.
        """
        objects = await self.step.vc("rev-parse", f"--disambiguate={short}", check=False, log=None)
        if not objects.stdout.strip():
            return ""
        listed = await self.step.vc("cat-file", "--batch-check", stdin=objects.stdout, log=None)
        commits = [line.split()[0] for line in listed.stdout.splitlines() if line.split()[1:2] == ["commit"]]
        if len(commits) > 1:
            raise BuildStepFailed(f"revision {short} is the beginning of several commits: {', '.join(sorted(commits))}")
        return commits[0] if commits else ""
