"""A step that stores the difference between a build's commit and another branch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.process.step import BuildStepFailed
from buildbot.steps.source.base import address
from buildbot.steps.source.gitstep import GitServerStep
from buildbot.util.results import SUCCESS

_NOTHING = "/dev/null"
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NAME = re.compile(r"[\w.-]{1,70}\Z", re.ASCII)
_ESCAPE = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _data_name(value: Any) -> str:
    if not _NAME.match(checks.text(value)):
        raise ValueError(f"must be 1 to 70 letters, digits, '.', '_' or '-', not {value!r}")
    return str(value)


class GitDiffInfo(GitServerStep):
    """Store which lines of which files the build's commit changes, compared with its merge base with another branch.

    The build data ``dataName`` is a JSON list of ``{"source_file": …, "target_file": …, "is_binary": …, "is_rename": …,
    "hunks": [{"ss": …, "sl": …, "ts": …, "tl": …}]}``: first line and number of lines in the source and in the target.
    A file that is not there is ``/dev/null``. The property ``diffinfo-merge-base-commit`` is the commit compared with.
    """

    positional: ClassVar[tuple[str, ...]] = ("compareToRef", "dataName")
    name = "gitdiffinfo"
    compareToRef = argument(
        "master",
        checks.name,
        rendered=True,
        doc="the branch, or any other commit; a branch that is not in the worker's directory is fetched",
    )
    dataName = argument("diffinfo-master", _data_name, rendered=True, doc="the name of the build data")
    repourl: Any = argument(
        None,
        checks.optional(address),
        rendered=True,
        doc="the repository to fetch the branch from; None: the one that the directory was checked out from",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.auth_credentials is not None and self.repourl is None:
            error(f"{type(self).__name__}: auth_credentials need a repourl, the repository that they log in to")

    def vc_arguments(self) -> Sequence[Any]:
        """The git command; it writes file names in UTF-8 without escapes."""
        return [*super().vc_arguments(), "-c", "core.quotePath=false"]

    async def run(self) -> int:
        """Find the merge base, compare HEAD with it, and store the differences."""
        base = await self.__merge_base()
        self.setProperty("diffinfo-merge-base-commit", base, type(self).__name__)
        options = ("--no-prefix", "--no-ext-diff", "--no-color", "-M", "-U0")
        diff = await self.vc("diff", *options, base, "HEAD", log="stdio-diff")
        info = json.dumps(list(parsed(diff.stdout)))
        await self.setBuildData(self.dataName, info.encode(), type(self).__name__)
        return SUCCESS

    async def __merge_base(self) -> str:
        """The merge base of HEAD and ``compareToRef``."""
        other = await self.vc_output("rev-parse", "--verify", "-q", f"{self.compareToRef}^{{commit}}")
        if not other or not _is_fixed(self.compareToRef, other):
            other = await self.__fetched() or other
        if not other:
            raise BuildStepFailed(f"there is no branch or commit {self.compareToRef}")
        base = await self.vc("merge-base", "HEAD", other, check=False, log="stdio-merge-base")
        if base.didFail():
            raise BuildStepFailed(f"HEAD and {self.compareToRef} have no commit in common here")
        return str(base.stdout.strip())

    async def __fetched(self) -> str:
        """The newest commit of the branch on the server; empty if it has none of this name."""
        branch = self.compareToRef.removeprefix("origin/")
        ref = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
        async with await self.login():
            where = self.server_url() if self.repourl else "origin"
            fetch = await self.vc("fetch", "-f", "--no-recurse-submodules", where, ref, check=False)
        if fetch.didFail():
            return ""
        return await self.vc_output("rev-parse", "--verify", "-q", "FETCH_HEAD^{commit}")


def _is_fixed(name: str, commit: str) -> bool:
    """Whether a name is the hash of this commit, or at least its first seven digits."""
    return len(name) >= 7 and commit.startswith(name.lower())


def parsed(diff: str) -> Iterator[dict[str, Any]]:
    """The entries of the build data, one for each file, from the output of ``git diff --no-prefix -U0``."""
    entry: dict[str, Any] | None = None
    for line in diff.split("\n"):  # lines of files begin with '+', '-' or '\\'
        if line.startswith("diff --git "):
            if entry is not None:
                yield entry
            source, target = _old_and_new(line.removeprefix("diff --git "))
            entry = {
                "source_file": source, "target_file": target, "is_binary": False, "is_rename": False, "hunks": [],
            }  # fmt: skip
        elif entry is None:
            continue
        elif hunk := _HUNK.match(line):
            ss, sl, ts, tl = (1 if number is None else int(number) for number in hunk.groups())
            entry["hunks"].append({"ss": ss, "sl": sl, "ts": ts, "tl": tl})
        else:
            _read_header(entry, line)
    if entry is not None:
        yield entry


def _read_header(entry: dict[str, Any], line: str) -> None:
    """Update an entry from a line between ``diff --git`` and the first hunk."""
    if line.startswith("new file mode "):
        entry["source_file"] = _NOTHING
    elif line.startswith("deleted file mode "):
        entry["target_file"] = _NOTHING
    elif line.startswith("rename from "):
        entry.update(source_file=_unquoted(line.removeprefix("rename from ")), is_rename=True)
    elif line.startswith("rename to "):
        entry["target_file"] = _unquoted(line.removeprefix("rename to "))
    elif line.startswith("Binary files "):
        entry["is_binary"] = True


def _old_and_new(names: str) -> tuple[str, str]:
    """The old and new name from ``diff --git``; both empty if they differ, since ``rename from`` and ``to`` follow."""
    half = len(names) // 2
    return (_unquoted(names[:half]), _unquoted(names[half + 1 :])) if names[:half] == names[half + 1 :] else ("", "")


def _unquoted(name: str) -> str:
    """A file name without the quotes and escapes that git adds if the name has special characters."""
    if not (name.startswith('"') and name.endswith('"') and len(name) > 1):
        return name

    def character(found: re.Match[str]) -> str:
        code = found[1]
        return chr(int(code, 8)) if len(code) == 3 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(character, name[1:-1])
