"""GitPoller: finds new commits in a git repository.

**Where things are.** A bare repository (`buildbot.changes.gitmirror`) below the master's base directory,
``gitpoller-work/<hash of the address>``, holds what was fetched; pollers of one address share it. It is a cache: the
truth about what has been seen is one JSON value in the database (`buildbot.changes.gitposition`; ``master.db.state``,
object *name of the poller*, class ``GitPoller``, key ``lastRev``)::

    {"heads": {"refs/heads/main": "<commit>"}, "gone": ["<commit>", …], "changeid": 17, "adding": null}

*heads* are the branches as last seen. *gone* are former heads that no branch leads to any more (deleted branches,
rewritten history; the last hundred), so that a branch that comes back brings nothing twice. *changeid* is the newest
change at the last write. *adding* is a branch and the head that it is moving to, while its commits are being added.
*Known* are the commits that lead to a head or a former head.

**A poll** asks the remote for its heads. If nothing moved, that was it. Otherwise it fetches what moved and goes
through the branches, the default branch first: all commits of the branch that are not known, parents before children,
become changes on that branch; then the new head is written to the database, and they are known to the branches after
it. So a commit becomes a change once, on the first branch it is seen on; merging a branch whose commits are known
brings the merge commit only. A rewritten history brings the commits that the old one did not have. (A branch that only
moves among known commits brings nothing, or one change with ``buildPushesWithNoCommits``.)

**A function** in ``branches`` may follow any ref. The default branch, if it is not followed, counts as seen at first
sight, and whenever a pull request is looked at: a pull request brings its own commits, not those of its base.

**The first sight** of a repository writes its heads and makes no changes. An empty repository has been seen too: what
is pushed to it later is new.

**Exactly once.** Changes and head are written by different transactions: *adding* first, the head last. A master
killed between them goes on with that branch and head at its next poll, whatever the remote looks like by then. Before
adding any commits it asks, per batch, which of them already are changes of this repository, branch, project, codebase
and category after *changeid*, and skips those. (For a branch that is new or was rewritten all changes are asked,
since its commits may have been changes long ago.) Nothing is lost, as the head moves only after all changes; nothing is
doubled, as only one master runs the poller and its polls do not overlap; one that was taken for dead can write neither
change nor head.

**What can fail.** The repository does not exist, cannot be reached, a branch vanishes during the poll, git is killed:
a `PollError`, logged once; heads not yet written are found again by the next poll. If the mirror was lost and the
history rewritten before the next poll, the old head is nowhere to be found, and what is new cannot be told from what
is old: the position alone is recorded, with a warning.

Git 2.31 or newer is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from buildbot.changes.base import PollError, PollingChangeSource, categorised, category_argument
from buildbot.changes.commits import Commit
from buildbot.changes.git import Git
from buildbot.changes.gitlogin import GitLogin
from buildbot.changes.gitmirror import HEADS, TAGS, GitMirror, Remote, is_request
from buildbot.changes.gitposition import Position
from buildbot.changes.programs import ProgramError
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.config.gitlogin import login_arguments
from buildbot.util.git_credential import address_login, login_texts, ssh_files, ssh_mistakes
from buildbot.util.urls import web_login, without_password

_log = Logger()

_BATCH = 100
_MAX_GONE = 100
#: pollers of one address share a mirror; git does not like two fetches into one repository at a time
_mirrors: WeakValueDictionary[Path, DeferredLock] = WeakValueDictionary()

Category = str | Callable[[dict[str, Any]], str | None] | None


def _address(value: Any) -> str:
    if not isinstance(value, str) or not value or value.startswith("-") or "\0" in value:
        raise ValueError(f"must be the address of a repository, not {checks.kind(value)}")
    return value


def _branches(value: Any) -> Any:
    if value is None or value is True or callable(value):
        return value
    names = sorted(value) if isinstance(value, set | frozenset) else value
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) and each for each in names):
        raise ValueError(f"must be a list of names, True or a function, not {checks.kind(value)}")
    return sorted(names) if isinstance(names, tuple) else names


class GitPoller(PollingChangeSource):
    """Polls a git repository for commits and tells the master about each."""

    positional: ClassVar[tuple[str, ...]] = ("repourl", "branches", "branch")
    repourl = argument(
        REQUIRED,
        _address,
        doc="""address of the repository, anything that `git fetch` understands; a relative path starts at the master's
        base directory. User and password of an HTTP address are used but never shown, and are no arguments of git:
        the changes' `repository` has none""",
    )
    branches = argument(
        None,
        _branches,
        doc="""list of branch names (or full refs), True for all branches, or a function that is given each full ref of
        the repository (branches, tags, pull requests) and returns whether to follow it. Branches that do not exist are
        no error. None: the repository's default branch""",
    )
    branch = argument(None, checks.optional(checks.name), doc="a single branch, instead of `branches`")
    workdir: Any = argument(
        None,
        checks.optional(checks.name),
        doc="directory for the mirrors, relative to the master's base directory; None: `gitpoller-work`",
    )
    gitbin = argument("git", checks.name, doc="the git program")
    usetimestamps = argument(True, checks.flag, doc="date changes by their commit, otherwise by when they were found")
    category = category_argument()
    project = argument(None, checks.optional(checks.text), doc="of the changes")
    encoding = argument("utf-8", checks.encoding, doc="of authors, comments and file names that are not UTF-8")
    name: Any = argument(None, checks.optional(checks.name), doc="unique among change sources; None: the address")
    sshPrivateKey, sshHostKey, sshKnownHosts, auth_credentials, git_credentials = login_arguments(
        "for the time of a poll", "several addresses", renderable=True
    )
    buildPushesWithNoCommits = argument(
        False, checks.flag, doc="a branch that appears at, or moves to, a known commit brings a change for it"
    )
    only_tags = argument(
        False,
        checks.flag,
        doc="follow tags instead of branches; the change's branch is the full ref (`refs/tags/v1`)",
    )
    codebase = argument(
        None,
        checks.optional(checks.text),
        doc="of the changes; None: the result of `c['codebaseGenerator']`, or the one without a name",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.repository = without_password(self.repourl or "invalid")
        if self.name is None:
            self.name = self.repository
        if self.branch is not None and self.branches is not None:
            error(f"GitPoller {self.name}: give either branch or branches, not both")
        if self.only_tags and (self.branch is not None or self.branches is not None):
            error(f"GitPoller {self.name}: with only_tags there can be neither branch nor branches")
        for mistake in ssh_mistakes(self.sshPrivateKey, self.sshHostKey, self.sshKnownHosts):
            error(f"GitPoller {self.name}: {mistake}")
        if self.branch is not None:
            self.branches = [self.branch]
        self.workdir = self.workdir or "gitpoller-work"
        self.project = self.project or ""
        self.__git: Git | None = None

    # one poll

    async def poll(self) -> None:
        """Look for new commits once."""
        basedir: Path = self.master.basedir
        mirror = basedir / self.workdir / hashlib.sha256(self.repourl.encode()).hexdigest()[:20]
        self.__git = git = Git(self.master.reactor, self.gitbin, mirror, cwd=basedir)
        async with _mirrors.setdefault(mirror, DeferredLock()):
            if not self.stopping:
                async with await self.__login(git):
                    # every account of the machine can read the arguments of a process
                    address = self.repourl if web_login(self.repourl) is None else self.repository
                    await self.__poll(GitMirror(git, address))

    async def __login(self, git: Git) -> GitLogin:
        """How git logs in."""
        given = self.git_credentials
        try:
            ssh = await self.render([self.sshPrivateKey, self.sshHostKey, self.sshKnownHosts])
            credentials = await login_texts(given, self.auth_credentials, self.repository, self.render)
            address = address_login(self.repourl, self.auth_credentials)
            files = ssh_files(*ssh)
        except (TypeError, ValueError) as problem:
            raise PollError(f"repository {self.repository} cannot be read: {problem}") from None
        name = hashlib.sha256(str(self.name).encode()).hexdigest()[:20]
        directory = (self.master.basedir / self.workdir / f"{name}.login").absolute()
        use_http_path = None if given is None else given.use_http_path
        return GitLogin(git, directory, files, credentials, use_http_path, address)

    async def stop_work(self) -> None:
        """Stop polling; a poll under way ends after the change that it is adding now."""
        self.stopping = True
        if self.__git is not None:
            self.__git.stop()
        await super().stop_work()

    async def __poll(self, mirror: GitMirror) -> None:
        try:
            remote = await mirror.ask_remote(self.__patterns())
            heads = self.__chosen(remote)
            base = self.__base(remote, heads)
            seen = await self.__load()
            may_come = self.only_tags or callable(self.branches)
            if seen is None and not heads and remote.refs and not may_come:
                raise PollError(f"repository {self.repository} has none of the branches to follow")
            if seen is None:
                await self.__first_sight(mirror, heads, base)
            elif heads != seen.heads or seen.adding is not None:
                lost = await mirror.open(heads.values(), seen.heads.values())
                heads = await mirror.fetch(heads | base, seen.heads, lost)
                based = {heads.pop(ref) for ref in base if ref in heads}
                await self.__advance(mirror, seen, heads, remote.default, based)
        except ProgramError as problem:
            raise PollError(f"repository {self.repository} cannot be read: {problem}") from None

    async def __first_sight(self, mirror: GitMirror, heads: dict[str, str], base: dict[str, str]) -> None:
        seen = Position({}, [], 0)
        if heads or base:
            lost = await mirror.open((heads | base).values(), ())
            seen.heads = await mirror.fetch(heads | base, {}, lost)
            seen.gone = [seen.heads.pop(ref) for ref in base if ref in seen.heads]
        seen.changeid = await self.master.db.changes.getLatestChangeid() or 0
        await self.__save(seen)
        _log.info("{part!r}: first sight of the repository; later commits are new", part=self)

    def __patterns(self) -> list[str]:
        """Patterns of the refs to ask the remote for; none: all refs."""
        if callable(self.branches):
            return []  # it is given every ref that there is
        patterns = ["HEAD", HEADS + "*", *([TAGS + "*"] if self.only_tags else [])]
        if isinstance(self.branches, list):
            patterns += [each for each in self.branches if each.startswith("refs/")]
        return patterns

    def __chosen(self, remote: Remote) -> dict[str, str]:
        """The refs of the remote to follow."""
        if callable(self.branches):
            return {ref: commit for ref, commit in remote.refs.items() if self.branches(ref)}
        kind = TAGS if self.only_tags else HEADS
        refs = {ref: commit for ref, commit in remote.refs.items() if ref.startswith(kind)}
        if self.only_tags or self.branches is True:
            return refs
        if self.branches is None:
            return {ref: commit for ref, commit in refs.items() if ref == remote.default}
        wanted = {each if each.startswith("refs/") else HEADS + each for each in self.branches}
        return {ref: commit for ref, commit in remote.refs.items() if ref in wanted}

    def __base(self, remote: Remote, heads: dict[str, str]) -> dict[str, str]:
        """The default branch, where a function may not follow it: pull requests begin there, and bring their own
        commits only."""
        if not callable(self.branches) or remote.default is None or remote.default in heads:
            return {}
        return {remote.default: remote.refs[remote.default]} if remote.default in remote.refs else {}

    async def __advance(
        self, mirror: GitMirror, seen: Position, heads: dict[str, str], default: str | None, based: set[str]
    ) -> None:
        """Turn new commits into changes, branch by branch, and store each branch that is done."""
        lost, known = await mirror.present({*seen.heads.values(), *seen.gone})
        blind = bool(lost) and not known
        if seen.adding is not None and not await self.__resume(mirror, seen, known):
            return
        for ref in sorted(heads, key=lambda ref: (ref != default, ref)):
            old, new = seen.heads.get(ref), heads[ref]
            if old == new:
                continue
            if blind or old in lost:
                _log.warn(
                    "{part!r}: the last commit seen of {ref}, {old}, is gone, and so is the mirror that had it; "
                    "starting anew at {new}", part=self, ref=ref, old=old, new=new,
                )  # fmt: skip
            elif not await self.__add_branch(mirror, seen, ref, new, known | (based if is_request(ref) else set())):
                return
            await self.__move(seen, ref, new, known)
        for ref in [ref for ref in seen.heads if ref not in heads]:
            seen.gone.append(seen.heads.pop(ref))
        seen.gone = (await mirror.unreachable(seen.gone, seen.heads.values()))[-_MAX_GONE:]
        await self.__save(seen)

    async def __resume(self, mirror: GitMirror, seen: Position, known: set[str]) -> bool:
        """Finish the branch at which the last poll was interrupted; False if the master stops meanwhile."""
        assert seen.adding is not None
        ref, new = seen.adding
        _, present = await mirror.present({new})
        if not present:  # with the mirror; the remote does not have it any more
            seen.adding = None
            return True
        if not await self.__add_branch(mirror, seen, ref, new, known):
            return False
        await self.__move(seen, ref, new, known)
        return True

    async def __move(self, seen: Position, ref: str, new: str, known: set[str]) -> None:
        """Write down that all commits of a branch up to ``new`` have become changes."""
        old = seen.heads.get(ref)
        if old is not None:
            seen.gone.append(old)
        known.add(new)
        seen.heads[ref] = new
        seen.adding = None
        await self.__save(seen)

    async def __add_branch(self, mirror: GitMirror, seen: Position, ref: str, new: str, known: set[str]) -> bool:
        """Add a branch's new commits as changes; False if the master stops meanwhile."""
        old = seen.heads.get(ref)
        revisions = await mirror.new_commits(new, known)
        if not known and not ref.startswith(HEADS):
            revisions = revisions[-1:]  # the first tag ever stands for all that led to it
        rewritten = old is not None and not await mirror.leads_to(new, old)
        if rewritten:
            _log.warn(
                "{part!r}: the history of {ref} was rewritten, it no longer leads to {old}; {count} commits are new",
                part=self, ref=ref, old=old, count=len(revisions),
            )  # fmt: skip
        after = 0 if rewritten or old is None else seen.changeid
        if not revisions and self.buildPushesWithNoCommits:
            # it may have been a change of this branch before; one after the last write is of this move
            revisions, after = [new], seen.changeid
        if revisions and seen.adding is None:
            seen.adding = (ref, new)
            await self.__save(seen)
        branch = ref.removeprefix(HEADS).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        for start in range(0, len(revisions), _BATCH):
            batch = revisions[start : start + _BATCH]
            present = await self.__already_changes(branch, batch, after)
            for commit in await mirror.commits([each for each in batch if each not in present], self.encoding):
                if self.stopping:
                    return False
                seen.changeid = max(seen.changeid, await self.__add_change(commit, branch))
        return True

    # changes and the database

    async def __already_changes(self, branch: str, revisions: Sequence[str], after: int) -> set[str]:
        """Which revisions are changes of this branch already, made by an interrupted poll or told by another source."""
        filters = {
            "repository": self.repository,
            "branch": branch,
            "revision__eq": list(revisions),
            "changeid__gt": after,
        }
        found = await self.master.data.get({"filters": filters}, ("changes",))
        return {
            change["revision"]
            for change in found
            if change["project"] == self.project
            and change["codebase"] == self.__codebase_of(change)
            and (callable(self.category) or change["category"] == self.category)
        }

    def __codebase_of(self, change: dict[str, Any]) -> str:
        return self.master.data.update.codebase_of(change) if self.codebase is None else self.codebase

    async def __add_change(self, commit: Commit, branch: str) -> int:
        attributes: dict[str, Any] = {
            "author": commit.author,
            "committer": commit.committer,
            "files": list(commit.files),
            "comments": commit.comments,
            "revision": commit.revision,
            "when_timestamp": commit.when if self.usetimestamps else None,
            "branch": branch,
            "repository": self.repository,
            "project": self.project,
            "codebase": self.codebase,
        }
        return await self.add_change(**categorised(attributes, self.category))

    async def __objectid(self) -> int:
        return int(await self.master.db.state.getObjectId(self.name, "GitPoller"))

    async def __load(self) -> Position | None:
        value = await self.master.db.state.getState(await self.__objectid(), "lastRev", None)
        return None if value is None else Position.from_json(value)

    async def __save(self, seen: Position) -> None:
        await self.set_state(await self.__objectid(), "lastRev", seen.to_json())
