"""The data of commits of a git repository, read for many commits by one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from buildbot.changes.git import Git

#: A record is these fields, a line feed, the names of the files and, as no name is empty, an empty token.
_FIELDS = ("%H", "%ct", "%an <%ae>", "%cn <%ce>", "%B")
_FORMAT = "format:" + "%x00".join(_FIELDS) + "%x00"
LAST_SECOND = 253_402_300_799  # of the year 9999; git itself accepts any number


@dataclass(frozen=True)
class Commit:
    """One commit; times are Unix seconds, None if malformed. ``files``: the differences to its first parent."""

    revision: str
    when: int | None
    author: str
    committer: str
    comments: str
    files: tuple[str, ...]


def to_text(raw: bytes, encoding: str) -> str:
    """Text for bytes that may be in any encoding: as UTF-8, else as ``encoding``, else with escapes for what is not
    UTF-8, so that nothing of it is lost."""
    for candidate in ("utf-8", encoding):
        try:
            return raw.decode(candidate)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "backslashreplace")


async def read_commits(git: Git, revisions: Sequence[str], encoding: str) -> list[Commit]:
    """The commits of these revisions, in this order.

    Args:
        git: the repository that has them.
        revisions: full object names.
        encoding: for texts and file names that are not UTF-8.
    """
    if not revisions:
        return []
    output = await git.run(
        "diff-tree", "--stdin", "--always", "--root", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff",
        "--diff-merges=first-parent", "--encoding=UTF-8", "--no-notes", "--no-show-signature", "--no-color",
        f"--format={_FORMAT}",
        stdin="".join(f"{revision}\n" for revision in revisions).encode(),
    )  # fmt: skip
    return list(_parse(output, encoding))


def _parse(output: bytes, encoding: str) -> Iterator[Commit]:
    tokens = iter(output.split(b"\0"))
    while revision := next(tokens, b""):
        when, author, committer, comments = (next(tokens) for _ in _FIELDS[1:])
        names = list(iter(lambda: next(tokens, b""), b""))
        if names:
            names[0] = names[0].removeprefix(b"\n")
        seconds = int(when or -1)
        yield Commit(
            revision=revision.decode("ascii"),
            when=seconds if 0 <= seconds <= LAST_SECOND else None,
            author=to_text(author, encoding),
            committer=to_text(committer, encoding),
            comments=to_text(comments, encoding).rstrip("\n"),
            files=tuple(to_text(name, encoding) for name in names),
        )
