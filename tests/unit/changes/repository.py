"""A real git repository for tests, with commits made by `git fast-import`: hundreds in a moment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_WHO = {
    "GIT_AUTHOR_NAME": "Ann Author",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Carl Committer",
    "GIT_COMMITTER_EMAIL": "carl@example.org",
}


class Repository:
    """A bare repository; every commit gets a time of its own, one second after the one before."""

    def __init__(self, path: Path, default: str = "main") -> None:
        self.path = path
        self.clock = 1_600_000_000
        subprocess.run(["git", "init", "-q", "--bare", f"--initial-branch={default}", str(path)], check=True)

    @property
    def url(self) -> str:
        return str(self.path)

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """The output of git."""
        environment = os.environ | _WHO
        done = subprocess.run(
            ["git", "--git-dir", str(self.path), *arguments],
            input=stdin,
            env=environment,
            check=True,
            capture_output=True,
        )
        return done.stdout.decode().strip()

    def commit(
        self,
        branch: str = "main",
        files: dict[str | bytes, str] | None = None,
        message: str | bytes = "a change",
        author: bytes = b"Ann Author <ann@example.org>",
        parents: list[str] | None = None,
        when: int | None = None,
        headers: bytes = b"",
    ) -> str:
        """Commit on a branch; ``parents`` default to its head. Returns the revision."""
        self.clock += 1
        if parents is None:
            head = self.head(branch)
            parents = [head] if head else []
        tree = self._tree(parents[0] if parents else None, files if files is not None else {f"f{self.clock}": "x"})
        text = message if isinstance(message, bytes) else message.encode()
        stamp = str(self.clock if when is None else when).encode()
        raw = b"tree " + tree.encode() + b"\n"
        raw += b"".join(b"parent " + parent.encode() + b"\n" for parent in parents)
        raw += b"author " + author + b" " + stamp + b" +0000\n"
        raw += b"committer Carl Committer <carl@example.org> " + stamp + b" +0000\n" + headers + b"\n" + text + b"\n"
        revision = self.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=raw)
        self.set_head(branch, revision)
        return revision

    def _tree(self, parent: str | None, files: dict[str | bytes, str]) -> str:
        environment = os.environ | {"GIT_INDEX_FILE": str(self.path / "test-index"), "GIT_DIR": str(self.path)}
        (self.path / "test-index").unlink(missing_ok=True)

        def git(*arguments: str, stdin: bytes = b"") -> bytes:
            done = subprocess.run(["git", *arguments], input=stdin, env=environment, check=True, capture_output=True)
            return done.stdout.strip()

        if parent is not None:
            git("read-tree", parent)
        for name, content in files.items():
            blob = git("hash-object", "-w", "--stdin", stdin=content.encode())
            raw = name if isinstance(name, bytes) else name.encode()
            git("update-index", "-z", "--index-info", stdin=b"100644 " + blob + b"\t" + raw + b"\0")
        return git("write-tree").decode()

    def head(self, branch: str = "main") -> str:
        """The branch's revision, empty if there is none."""
        return self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def set_head(self, branch: str, revision: str) -> None:
        self.git("update-ref", f"refs/heads/{branch}", revision)

    def delete(self, branch: str) -> None:
        self.git("update-ref", "-d", f"refs/heads/{branch}")

    def all_commits(self) -> set[str]:
        """Every commit that a branch leads to."""
        return set(self.git("rev-list", "--branches").split())

    def grow(self, plan: str) -> None:
        """Append a history in fast-import's language; see its manual."""
        subprocess.run(
            ["git", "--git-dir", str(self.path), "fast-import", "--quiet", "--force"], input=plan.encode(), check=True
        )
