"""SVNPoller: finds new commits in a Subversion repository.

The position of the source is the number of the last revision that was looked at. It moves in the transaction that adds
the changes of the revisions before it, so each revision brings its changes once. The first poll writes the newest
revision and makes no changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote
from xml.etree import ElementTree

from twisted.logger import Logger

from buildbot.changes.base import PollError, PollingChangeSource, categorised, category_argument
from buildbot.changes.programs import Program, ProgramError
from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.util.urls import without_only_password, without_password

_log = Logger()
_BATCH = 50


def split_file_alwaystrunk(path: str) -> dict[str, str]:
    """Every file is on the trunk."""
    return {"path": path}


def split_file_branches(path: str) -> tuple[str | None, str] | None:
    """``trunk/FILE`` and ``branches/NAME/FILE``; None for anything else."""
    pieces = path.split("/")
    if pieces[0] == "trunk" and len(pieces) > 1:
        return None, "/".join(pieces[1:])
    if pieces[0] == "branches" and len(pieces) > 2:
        return "/".join(pieces[:2]), "/".join(pieces[2:])
    return None


def split_file_projects_branches(path: str) -> dict[str, str] | None:
    """``PROJECT/trunk/FILE`` and ``PROJECT/branches/NAME/FILE``; None for anything else."""
    project, slash, rest = path.partition("/")
    split = split_file_branches(rest) if slash else None
    if split is None:
        return None
    branch, file = split
    return {"project": project, "path": file, **({} if branch is None else {"branch": branch})}


@dataclass(frozen=True)
class _Path:
    """A path in a revision: its name in the repository, of a directory with a slash at the end."""

    name: str
    action: str


@dataclass(frozen=True)
class _Revision:
    number: int
    author: str
    comments: str
    paths: tuple[_Path, ...]


class SVNPoller(PollingChangeSource):
    """Polls a Subversion repository, or a directory in it, and tells the master about each commit and branch."""

    state_class = "SVNPoller"
    positional: ClassVar[tuple[str, ...]] = ("repourl",)
    repourl = argument(REQUIRED, checks.name, doc="address of the repository, or of a directory in it")
    split_file = argument(
        None,
        checks.optional(checks.function),
        doc="""`f(path)` tells the branch from the file in a path below `repourl`: None (it does not count),
        `(branch, file)` or `{"path": file, "branch": …, "project": …, "repository": …}`; `util.svn` has some. None:
        everything is trunk""",
    )
    svnuser = argument(None, checks.optional(checks.text), renderable=True, doc="to log in with")
    svnpasswd = argument(None, checks.optional(checks.text), renderable=True, doc="to log in with")
    histmax = argument(100, checks.whole_number(1), doc="the number of revisions that are read at a time")
    svnbin = argument("svn", checks.name, doc="the svn program")
    revlinktmpl = argument("", checks.text, doc="the link of a change, with `%s` for the revision")
    category = category_argument()
    project = argument("", checks.text, doc="of the changes, where `split_file` does not say")
    cachepath = argument(
        None, checks.optional(checks.name), doc="a file that has, and gets, the number of the last revision seen"
    )
    extra_args = argument((), checks.optional(checks.list_of(checks.text)), doc="further arguments of all svn commands")
    name: Any = argument(None, checks.optional(checks.name), doc="unique among change sources; None: the address")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__repository = without_password((self.repourl or "invalid").rstrip("/"))
        if self.name is None:
            self.name = self.__repository
        self.__svn: Program | None = None
        self.__prefix: str | None = None

    async def stop_work(self) -> None:
        """Stop polling; a poll under way ends after the changes that it is adding now."""
        self.stopping = True
        if self.__svn is not None:
            self.__svn.stop()
        await super().stop_work()

    async def poll(self) -> None:
        """Look for new revisions once."""
        try:
            await self.__poll()
        except ProgramError as problem:
            raise PollError(f"repository {self.__repository} cannot be read: {problem}") from None
        except ElementTree.ParseError as problem:
            raise PollError(f"repository {self.__repository}: svn did not answer in XML: {problem}") from None

    async def __poll(self) -> None:
        environment = {**os.environ, "LC_MESSAGES": "C"}
        self.__svn = Program(self.master.reactor, self.svnbin, self.master.basedir, environment, grave=("svn: E",))
        if self.__prefix is None:
            self.__prefix = await self.__find_prefix()
        last: int | None = await self.get_position()
        if last is None:
            last = self.__cached()
        if last is None:
            newest = await self.__log(1)
            await self.advance([], newest[0].number if newest else 0)
            self.__cache(newest[0].number if newest else 0)
            return
        revisions = [each for each in reversed(await self.__since(last)) if each.number > last]
        for start in range(0, len(revisions), _BATCH):
            if self.stopping:
                return
            batch = revisions[start : start + _BATCH]
            changes = [change for revision in batch for change in self.__changes(revision)]
            await self.advance(changes, batch[-1].number)
            self.__cache(batch[-1].number)

    async def __since(self, last: int) -> list[_Revision]:
        """The newest revisions, down to the last one that was seen."""
        limit = self.histmax
        while True:
            found = await self.__log(limit)
            if len(found) < limit or found[-1].number <= last:
                return found
            limit *= 2

    async def __run(self, command: str, *words: str) -> ElementTree.Element:
        assert self.__svn is not None
        user, password = await self.render(self.svnuser), await self.render(self.svnpasswd)
        login = [f"--username={user}"] if user else []
        login += ["--no-auth-cache", "--password-from-stdin"] if password else []
        url = without_only_password(self.repourl)  # svn ignores a password in an address, and would show it
        words = (*words, "--xml", "--non-interactive", *login, *(self.extra_args or ()), url)
        return ElementTree.fromstring(await self.__svn.run(command, *words, stdin=f"{password or ''}\n".encode()))

    async def __find_prefix(self) -> str:
        """The beginning of the repository's paths below ``repourl``: empty, or a path with a slash at the end."""
        info = await self.__run("info")
        url, root = (unquote(info.findtext(f"entry/{name}") or "") for name in ("url", "repository/root"))
        if not root or not f"{url}/".startswith(f"{root}/"):
            raise PollError(f"svn info does not say where {self.__repository} is in its repository")
        below = url[len(root) :].strip("/")
        return f"{below}/" if below else ""

    async def __log(self, limit: int) -> list[_Revision]:
        """The newest revisions, the newest first."""
        log = await self.__run("log", "--verbose", f"--limit={limit}")
        return [_revision(entry) for entry in log.iter("logentry")]

    def __changes(self, revision: _Revision) -> Iterator[dict[str, Any]]:
        """The changes of a revision, one for each branch."""
        found: dict[tuple[Any, ...], list[_Path]] = {}
        for path in revision.paths:
            split = self.__split(path.name)
            if split is not None:
                key = tuple(split.get(name) for name in ("branch", "project", "repository"))
                found.setdefault(key, []).append(_Path(split["path"], path.action))
        for (branch, project, repository), paths in found.items():
            if [(path.name, path.action) for path in paths] == [("", "D")]:
                _log.info("{part!r}: branch {branch} was removed", part=self, branch=branch)
                continue
            change = {
                "author": revision.author,
                "files": [path.name for path in paths],
                "comments": revision.comments,
                "revision": str(revision.number),
                "branch": branch,
                "revlink": self.revlinktmpl % revision.number if self.revlinktmpl else "",
                "repository": self.__repository if repository is None else repository,
                "project": self.project if project is None else project,
            }
            yield categorised(change, self.category)

    def __split(self, name: str) -> Mapping[str, Any] | None:
        assert self.__prefix is not None
        path = name.lstrip("/")
        if not path.startswith(self.__prefix):
            return None
        split = (self.split_file or split_file_alwaystrunk)(path[len(self.__prefix) :])
        if split is None or isinstance(split, Mapping):
            return split
        branch, file = split
        return {"branch": branch, "path": file}

    def __cached(self) -> int | None:
        """The revision in the file that `cachepath` names."""
        if self.cachepath is None:
            return None
        try:
            return int((Path(self.master.basedir) / self.cachepath).read_text())
        except (OSError, ValueError) as problem:
            _log.info("{part!r}: no revision in {path}: {problem}", part=self, path=self.cachepath, problem=problem)
            return None

    def __cache(self, revision: int) -> None:
        if self.cachepath is not None:
            path = Path(self.master.basedir) / self.cachepath
            try:
                path.with_name(f"{path.name}.new").write_text(f"{revision}\n")
                path.with_name(f"{path.name}.new").replace(path)
            except OSError as problem:
                _log.warn("{part!r}: {path} cannot be written: {problem}", part=self, path=path, problem=problem)


def _revision(entry: ElementTree.Element) -> _Revision:
    """The data of a revision in ``svn log``."""
    paths = []
    for path in entry.iter("path"):
        name = path.text or ""
        is_directory = path.get("kind") == "dir" and not name.endswith("/")
        paths.append(_Path(f"{name}/" if is_directory else name, path.get("action", "")))
    return _Revision(
        int(entry.get("revision", 0)),
        entry.findtext("author") or "unknown",
        entry.findtext("msg") or "",
        tuple(sorted(paths, key=lambda path: path.name)),
    )
