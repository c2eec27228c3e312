"""HgPoller: finds new commits in a Mercurial repository.

**Where things are.** A clone in `workdir` holds what was pulled; it is a cache. The truth about what has been seen is
the position of the source in the database: for each branch and bookmark that is followed a *front*, a list of commits
such that what leads to one of them is known. A commit becomes a change in the transaction that moves the front over
it, so it becomes one once, wherever a poll is interrupted.

**A poll** pulls, and goes through the branches and then the bookmarks: all commits of a branch that lead to its head
and are not known become changes, parents before children. A commit belongs to one named branch; a bookmark brings what
no branch or bookmark before it has brought. A branch with several heads brings nothing, and is logged, until they are
merged.

**The first sight** of a branch writes its head and makes no changes. One that is not there yet has been seen too: what
is pushed to it later is new.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from twisted.logger import Logger

from buildbot.changes.base import PollError, PollingChangeSource, categorised, category_argument
from buildbot.changes.commits import LAST_SECOND, to_text
from buildbot.changes.programs import Program, ProgramError
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.interfaces import holds_renderable
from buildbot.util.urls import without_password

_log = Logger()
_BATCH = 50
#: a commit on one line: hash, author, message, date, files
_TEMPLATE = "[{node|json},{user|json},{desc|json},{date|hgdate|json},{files|json}]\\n"
#: the environment variable of hg's processes that has the address
_ADDRESS_VARIABLE = "BUILDBOT_HG_ADDRESS"
_MISSING = ("unknown revision", "unknown branch", "filtered revision")


def _address(value: Any) -> str:
    if not isinstance(value, str) or not value or value.startswith("-") or "\0" in value:
        raise ValueError(f"must be the address of a repository, not {checks.kind(value)}")
    return value


def _names(value: Any) -> list[str]:
    names: list[str] = checks.list_of(checks.name)(value)
    for each in names:
        if each.startswith("-"):
            raise ValueError(f"must not have a name that begins with '-': {each!r}")
    return list(dict.fromkeys(names))


class HgPoller(PollingChangeSource):
    """Polls a Mercurial repository for commits and tells the master about each."""

    state_class = "HgPoller"
    positional: ClassVar[tuple[str, ...]] = ("repourl",)
    repourl = argument(
        REQUIRED,
        _address,
        renderable=True,
        doc="""address of the repository, anything that `hg pull` understands; a relative path starts at the master's
        base directory. User and password of an HTTP address are used but never shown. With secrets in it, `name` must
        be given""",
    )
    branches = argument(None, checks.optional(_names), doc="the named branches to follow; None: `default`")
    branch = argument(None, checks.optional(checks.name), doc="a single branch, instead of `branches`")
    bookmarks = argument(
        None,
        checks.optional(_names),
        doc="the bookmarks to follow, instead of `default` or besides `branches`; the change's branch is the bookmark",
    )
    workdir = argument(
        REQUIRED,
        checks.name,
        doc="directory for the clone, relative to the master's base directory; one for each poller",
    )
    hgbin = argument("hg", checks.name, doc="the hg program")
    usetimestamps = argument(True, checks.flag, doc="date changes by their commit, otherwise by when they were found")
    category = category_argument()
    project = argument("", checks.text, doc="of the changes")
    encoding = argument("utf-8", checks.encoding, doc="of file names that are not UTF-8")
    revlink = argument(
        None, checks.optional(checks.function), doc="`f(branch, revision)` gives the link of a change; None: no link"
    )
    name: Any = argument(None, checks.optional(checks.name), doc="unique among change sources; None: the address")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__address = "" if holds_renderable(self.repourl) else self.repourl or "invalid"
        #: the address without user and password; before the first poll nothing, if it has secrets
        self.repository = without_password(self.__address)
        if self.name is None:
            self.name = self.repository
            if not self.name:
                error("HgPoller: give a name, since repourl is known only when its secrets are asked for")
        if self.branch is not None and self.branches is not None:
            error(f"HgPoller {self.name}: give either branch or branches, not both")
        self.__followed: list[tuple[str, bool]] = [
            *((name, False) for name in self.__branches()), *((name, True) for name in self.bookmarks or ())
        ]  # fmt: skip
        self.__hg: Program | None = None
        self.__told: dict[str, str] = {}

    def __branches(self) -> list[str]:
        if self.branch is not None:
            return [self.branch]
        if self.branches is None:
            return [] if self.bookmarks else ["default"]
        return list(self.branches)

    async def stop_work(self) -> None:
        """Stop polling; a poll under way ends after the changes that it is adding now."""
        self.stopping = True
        if self.__hg is not None:
            self.__hg.stop()
        await super().stop_work()

    async def poll(self) -> None:
        """Look for new commits once."""
        if holds_renderable(self.repourl):
            await self.__ask_address()
            self.repository = without_password(self.__address)
        try:
            await self.__poll()
        except ProgramError as problem:
            raise PollError(f"repository {self.repository} cannot be read: {problem}") from None

    async def __ask_address(self) -> None:
        """Find out the address, which has secrets. PollError, without the address, if it is none."""
        try:
            self.__address = _address(await self.render(self.repourl))
        except KeyError as problem:
            raise PollError(f"repourl: {problem.args[0]}") from None
        except ValueError:
            raise PollError("repourl: its value is not the address of a repository") from None

    async def __poll(self) -> None:
        basedir: Path = self.master.basedir
        clone = basedir / self.workdir
        environment = {**os.environ, "HGPLAIN": "1", "HGENCODING": "UTF-8", _ADDRESS_VARIABLE: self.__address}
        hg = self.__hg = Program(self.master.reactor, self.hgbin, basedir, environment)
        if not (clone / ".hg" / "requires").exists():
            await hg.run("init", str(clone))
        run = _Hg(hg, clone, self.__address)
        await self.__pull(run)
        fronts: dict[str, list[str]] = await self.get_position({})
        for name, is_bookmark in self.__followed:
            if self.stopping:
                return
            key = f"bookmark {name}" if is_bookmark else name
            try:
                head = await (self.__bookmark(run, name) if is_bookmark else self.__head(run, name))
            except _NoHeadError as problem:
                self.__tell(key, str(problem))
                if key not in fronts and problem.is_missing:
                    fronts[key] = []
                    await self.advance([], fronts)
                continue
            self.__tell(key, "")
            if fronts.get(key) != [head]:
                await self.__follow(run, fronts, key, name, head, is_bookmark)

    async def __pull(self, run: _Hg) -> None:
        try:
            await run("pull", run.source)
        except ProgramError as problem:
            if "abandoned transaction found" not in problem.said:
                raise
            await run("recover", allowed=(0, 1))  # a poll was killed
            await run("pull", run.source)

    async def __bookmark(self, run: _Hg, name: str) -> str:
        """The commit at a bookmark, as the server says."""
        try:
            said = await run("identify", "--template", "{node}\n", "--rev", name, run.source)
        except ProgramError as problem:
            if any(words in problem.said for words in _MISSING):
                raise _NoHeadError(f"there is no bookmark {name}", True) from None
            raise
        return next(line for line in said.splitlines() if re.fullmatch(r"[0-9a-f]{40}", line))

    async def __head(self, run: _Hg, branch: str) -> str:
        """The head of a branch."""
        open_heads = f"head() and {_of_branch(branch)} and not closed()"
        heads = (await run("log", "--rev", open_heads, "--template", "{node}\n")).split()
        if len(heads) > 1:  # perhaps the server has removed some
            gone = (await run("outgoing", "--template", "{node}\n", "--quiet", run.source, allowed=(0, 1))).split()
            kept = f"heads({_of_branch(branch)} and not closed() and not (({_any(gone)})::))"
            heads = (await run("log", "--rev", kept, "--template", "{node}\n")).split()
        if not heads:
            raise _NoHeadError(f"there is no branch {branch}", True)
        if len(heads) > 1:
            raise _NoHeadError(f"branch {branch} has {len(heads)} heads; nothing is built until they are merged", False)
        return heads[0]

    async def __follow(
        self, run: _Hg, fronts: dict[str, list[str]], key: str, name: str, head: str, is_bookmark: bool
    ) -> None:
        """Turn new commits of a branch or bookmark into changes, and move its front."""
        if key in fronts:
            known = {commit for front in fronts.values() for commit in front} if is_bookmark else set(fronts[key])
            if fronts[key] and not await run("log", "--rev", _any(fronts[key]), "--template", "{node}\n"):
                _log.warn(
                    "{part!r}: what was last seen of {name} is gone from the server and from the clone; starting anew "
                    "at {head}", part=self, name=name, head=head,
                )  # fmt: skip
            elif not await self.__add(run, fronts, key, name, head, is_bookmark, known):
                return
        fronts[key] = [head]
        await self.advance([], fronts)

    async def __add(
        self, run: _Hg, fronts: dict[str, list[str]], key: str, name: str, head: str, is_bookmark: bool, known: set[str]
    ) -> bool:
        """Add the commits that are not known; False if the master stops meanwhile."""
        new = f"::{head} and not ::({_any(known)})" + ("" if is_bookmark else f" and {_of_branch(name)}")
        revisions = (await run("log", "--rev", f"sort({new}, rev)", "--template", "{node}\n")).split()
        for start in range(0, len(revisions), _BATCH):
            if self.stopping:
                return False
            batch = revisions[start : start + _BATCH]
            listed = await run("log", "--rev", "+".join(batch), "--template", _TEMPLATE)
            changes = [self.__change(json.loads(line), name) for line in listed.splitlines()]
            # all ancestors of the front are known: keep the commits without known descendants
            front = f"heads({_any([*fronts[key], *batch])})"
            fronts[key] = (await run("log", "--rev", front, "--template", "{node}\n")).split()
            await self.advance(changes, fronts)
        return True

    def __change(self, commit: list[Any], branch: str) -> dict[str, Any]:
        revision, author, comments, date, files = commit
        when = int(date.split()[0])
        change = {
            "author": self.__text(author),
            "files": [self.__text(file) for file in files],
            "comments": self.__text(comments),
            "revision": revision,
            "when_timestamp": when if self.usetimestamps and 0 <= when <= LAST_SECOND else None,
            "branch": branch,
            "revlink": self.revlink(branch, revision) if self.revlink is not None else "",
            "repository": self.repository,
            "project": self.project,
        }
        return categorised(change, self.category)

    def __text(self, text: str) -> str:
        """Text of hg's, in which bytes that are not UTF-8 are surrogates."""
        return to_text(text.encode("utf-8", "surrogateescape"), self.encoding)

    def __tell(self, key: str, problem: str) -> None:
        """Log, once, why a branch cannot be followed."""
        if problem and self.__told.get(key) != problem:
            _log.warn("{part!r}: {problem}", part=self, problem=problem)
        self.__told[key] = problem


class _NoHeadError(Exception):
    """A branch or bookmark has not exactly one head."""

    def __init__(self, problem: str, is_missing: bool) -> None:
        super().__init__(problem)
        self.is_missing = is_missing


class _Hg:
    """Hg, run in the clone.

    Every account of the machine can read the arguments of a process, but not its environment. So an address with a
    password is a named path in hg's configuration, whose value is the variable `_ADDRESS_VARIABLE`.

    Attributes:
        source: the repository's address, or the name of its path.
    """

    def __init__(self, hg: Program, clone: Path, address: str) -> None:
        self._hg, self._clone = hg, clone
        has_password = without_password(address) != address
        self.source = "buildbot" if has_password else address
        self._options = ["--config", f"paths.buildbot=${_ADDRESS_VARIABLE}"] if has_password else []

    async def __call__(self, command: str, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        words = (*self._options, "--noninteractive", "-R", str(self._clone), command, *arguments)
        output = await self._hg.run(*words, what=command, allowed=allowed)
        return output.decode("utf-8", "surrogateescape")


def _of_branch(name: str) -> str:
    """The commits of a named branch, none if there is no such branch, in hg's language of sets."""
    pattern = re.escape(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'branch("re:^{pattern}$")'


def _any(commits: Iterable[str]) -> str:
    """Those of some commits that are in the clone."""
    return "+".join(f"present({commit})" for commit in commits) or "none()"
