"""The mirror of a git repository that a poller fetches into, and the refs of its remote."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from buildbot.changes.commits import Commit, read_commits
from buildbot.changes.git import Git

HEADS = "refs/heads/"
TAGS = "refs/tags/"


@dataclass
class Remote:
    """The result of ``ls-remote``: every ref with its object (of annotated tags the commit), the default branch."""

    refs: dict[str, str]
    default: str | None


class GitMirror:
    """A bare repository, and the remote that it is fetched from. It is a cache: it may be empty, or lose commits.

    Args:
        git: runs git in the mirror.
        address: of the remote.
    """

    def __init__(self, git: Git, address: str) -> None:
        self._git, self._address = git, address

    async def ask_remote(self, patterns: Iterable[str]) -> Remote:
        """Ask the remote for its refs.

        Args:
            patterns: of the refs to ask for, ``HEAD`` among them; none: all refs.
        """
        # the mirror need not exist: with an address given, ls-remote does not look at it
        output = await self._git.run("ls-remote", "--symref", "--", self._address, *patterns)
        refs: dict[str, str] = {}
        default = head = None
        for line in output.decode("utf-8", "surrogateescape").split("\n"):
            what, _, ref = line.partition("\t")
            if what.startswith("ref: "):
                default = what.removeprefix("ref: ") if ref == "HEAD" else default
            elif ref == "HEAD":
                head = what
            elif ref.startswith("refs/"):
                refs[ref.removesuffix("^{}")] = what  # the line of what a tag points to comes after the tag's
        if default is None and head is not None:
            # a server that does not tell, or a HEAD on no branch
            candidates = [ref for ref, commit in refs.items() if commit == head]
            default = min(
                candidates, key=lambda ref: (ref not in (HEADS + "main", HEADS + "master"), ref), default=None
            )
        return Remote(refs, default)

    async def open(self, heads: Iterable[str], seen: Collection[str]) -> set[str]:
        """Make the mirror if there is none.

        Args:
            heads: commits that the remote has now.
            seen: heads that were seen last.

        Returns:
            Those of ``seen`` that the mirror does not have.
        """
        long_names = any(len(commit) == 64 for commit in (*heads, *seen))
        await self._git.init("sha256" if long_names else "sha1")
        lost, _ = await self.present(set(seen))
        return lost

    async def fetch(self, heads: Mapping[str, str], seen: Mapping[str, str], lost: set[str]) -> dict[str, str]:
        """Fetch moved and missing refs, and forget removed ones.

        Args:
            heads: the refs to follow, with the commits that the remote has.
            seen: the refs that were followed before, with the commits seen last.
            lost: commits that the mirror does not have.

        Returns:
            The heads as they came, which may be newer than the remote said.
        """
        wanted = [ref for ref, commit in heads.items() if seen.get(ref) != commit or commit in lost]
        if wanted:
            specs = "".join(f"+{ref}:{_local(ref)}\n" for ref in wanted)
            await self._git.run(
                "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--stdin", "--",
                self._address, stdin=specs.encode("utf-8", "surrogateescape"),
            )  # fmt: skip
        vanished = "".join(f"delete {_local(ref)}\n" for ref in seen if ref not in heads)
        if vanished:
            await self._git.run("update-ref", "--stdin", stdin=vanished.encode())
        fetched: dict[str, str] = {}
        columns = "%(refname) %(objecttype) %(objectname) %(*objecttype) %(*objectname)"
        for line in (await self._git.run("for-each-ref", f"--format={columns}", "refs/poller/")).decode().splitlines():
            name, *objects = line.split()
            kind, commit = objects[-2:]  # of a tag, what it points to
            if kind == "commit":  # nothing can be built from a tag of anything else
                fetched[name] = commit
        return {
            ref: fetched[_local(ref)] if ref in wanted else commit
            for ref, commit in heads.items()
            if ref not in wanted or _local(ref) in fetched
        }

    async def present(self, commits: set[str]) -> tuple[set[str], set[str]]:
        """Which of the commits the mirror does not have, and which it has."""
        said = (
            await self._git.run("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=_lines(*commits))
        ).decode()
        lost = {line.split(" ")[0] for line in said.splitlines() if line.endswith(" missing")}
        return lost, commits - lost

    async def unreachable(self, candidates: Sequence[str], heads: Iterable[str]) -> list[str]:
        """Those of the commits that no head leads to, each once, in their order."""
        _, present = await self.present(set(candidates))
        if not present:
            return []
        listed = await self._git.run("rev-list", "--stdin", stdin=_lines(*present, *(f"^{head}" for head in heads)))
        unreachable = set(listed.decode().split())
        return [each for each in dict.fromkeys(candidates) if each in unreachable]

    async def new_commits(self, head: str, known: Iterable[str]) -> list[str]:
        """The commits that lead to a head and to no known commit, parents before children."""
        listed = await self._git.run(
            "rev-list", "--reverse", "--date-order", "--stdin", stdin=_lines(head, *(f"^{each}" for each in known))
        )
        return listed.decode().split()

    async def commits(self, revisions: Sequence[str], encoding: str) -> list[Commit]:
        """Commits with all that changes say of them; ``encoding`` is that of texts which are not UTF-8."""
        return await read_commits(self._git, revisions, encoding)

    async def leads_to(self, head: str, commit: str) -> bool:
        """Whether a commit is in the history of a head."""
        return (await self._git.run("rev-list", "--max-count=1", "--stdin", stdin=_lines(commit, f"^{head}"))) == b""


def is_request(ref: str) -> bool:
    """Whether a ref is neither a branch nor a tag: a pull request, or its equivalent on other servers."""
    return not ref.startswith((HEADS, TAGS))


def _local(ref: str) -> str:
    """The mirror's name for a remote ref: flat, as ``a`` and ``a/b`` cannot be there together, even if one is gone."""
    return "refs/poller/" + hashlib.sha256(ref.encode("utf-8", "surrogateescape")).hexdigest()


def _lines(*words: str) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()
